"""Signpost: a self-hosted link platform."""

__version__ = "0.1.0"
