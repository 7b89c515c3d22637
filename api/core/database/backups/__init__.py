"""Backups of all databases at one point, and putting them back.

PostgreSQL's own programs copy and restore; here it is decided what they see, proved that it is all
there, and kept from looking whole before it is. See docs/decisions/0033-backups.md.
"""
