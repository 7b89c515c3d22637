"""Resolve a host and slug to a target and answer the visitor."""
