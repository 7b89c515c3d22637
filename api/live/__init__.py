"""Clicks as they are counted, told to whoever is watching."""
