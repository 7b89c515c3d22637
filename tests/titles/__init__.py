"""Titles of links that have none."""
