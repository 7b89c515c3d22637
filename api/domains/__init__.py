"""The host names that serve short links."""
