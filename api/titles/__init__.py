"""Titles of links that have none: those of the pages to which they lead."""
