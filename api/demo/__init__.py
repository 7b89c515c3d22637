"""Believable data for a new installation: real-world links, and visits as they happen."""
