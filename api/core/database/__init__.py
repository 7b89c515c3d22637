"""Engines, sessions, routing and migrations of the directory and the shards."""
