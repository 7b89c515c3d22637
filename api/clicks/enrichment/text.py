"""Text of clients made fit to be stored."""

from __future__ import annotations

import unicodedata

# NUL and lone surrogates cannot be stored at all; the others separate rows and columns of COPY,
# and nobody sees them.
_UNWANTED = frozenset({"Cc", "Cs"})


def clean(text: str, limit: int) -> str:
    """`text` in NFC, without control characters and surrogates, trimmed, `limit` characters."""
    if text.isascii() and text.isprintable():
        return text.strip()[:limit].rstrip()
    text = unicodedata.normalize("NFC", text)
    kept = "".join(
        character for character in text if unicodedata.category(character) not in _UNWANTED
    )
    return kept.strip()[:limit].rstrip()


def decoded(text: str) -> str:
    """The text of a header or query: servers pass bytes on as Latin-1, most clients mean UTF-8."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text
