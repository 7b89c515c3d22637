"""Requests to addresses that somebody else has named, and that shall not lead inside."""
