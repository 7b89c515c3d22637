"""What the embedded servers raise."""

from __future__ import annotations


class EmbeddedError(Exception):
    """An embedded server cannot be had or kept; the message says why in one line."""
