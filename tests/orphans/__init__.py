"""Visits that no link answered."""
