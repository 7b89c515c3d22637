"""Requests that are made before anybody looks: by browsers ahead of a click, and by previewers."""

from __future__ import annotations

PURPOSES = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
_SPECULATIVE = ("prefetch", "preview", "prerender")


def is_speculative(purposes: str) -> bool:
    """Whether the values of the headers `PURPOSES`, joined, say that nobody looks yet."""
    return any(word in purposes.lower() for word in _SPECULATIVE)
