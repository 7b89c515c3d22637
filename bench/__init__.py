"""Measures how fast Signpost is, on private servers of its own."""
