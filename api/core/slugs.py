"""Slugs: how they are generated, and which custom ones are allowed."""

from __future__ import annotations

import os
import re
import secrets
import threading
import unicodedata

from api.core.errors import Invalid

MAX_LENGTH = 128
# Without 0 O o 1 l I i, which people confuse when they type a printed link.
ALPHABET = "23456789abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"  # pragma: allowlist secret
# Each byte stands for a character; the last few for none, or some characters would be more
# frequent than others.
_CHARACTERS = bytes(ord(ALPHABET[byte % len(ALPHABET)]) for byte in range(256))
_LEFT_OVER = bytes(range(256 - 256 % len(ALPHABET), 256))
# First segments that the service answers itself, now or by plan, and what browsers and
# crawlers ask every host for.
RESERVED = frozenset(
    (
        "api docs health metrics oauth status static assets admin login logout signup account app "
        "www .well-known robots.txt favicon.ico sitemap.xml manifest.json humans.txt ads.txt "
        "apple-touch-icon.png apple-touch-icon-precomposed.png browserconfig.xml index.html"
    ).split()
)
_PUNCTUATION = frozenset("-_.")
# Letters, the marks that many scripts write with them, and digits.
_CATEGORIES = re.compile("L.|M[nc]|Nd")


class _Characters:
    """Random characters, of which many are made at once: to ask the system takes ten times as long
    as a slug."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = ""

    def take(self, number: int) -> str:
        """So many, which nobody else gets."""
        with self._lock:
            while len(self._left) < number:
                made = secrets.token_bytes(1024).translate(_CHARACTERS, _LEFT_OVER)
                self._left += made.decode()
            taken, self._left = self._left[:number], self._left[number:]
        return taken


_characters = _Characters()
# Or workers would all make the same ones.
os.register_at_fork(after_in_child=_characters.__init__)  # type: ignore[misc]


def generate_slug(length: int) -> str:
    """A random slug; 7 characters give 1.5e12 of them."""
    return _characters.take(length)


def normalise_slug(text: str) -> str:
    """The one spelling of a slug: Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", text)


def may_be_slug(text: str) -> bool:
    """Whether a query can find `text` at all; not whether anybody may choose it."""
    return 0 < len(text) <= MAX_LENGTH and text.isprintable()


def is_reserved(slug: str) -> bool:
    """Whether the first segment belongs to the service."""
    return slug.split("/", 1)[0].casefold() in RESERVED


def check_custom_slug(text: str, *, multi_segment: bool, pointer: str = "/slug") -> str:
    """The normalised form of a slug that somebody chose.

    Raises:
        Invalid: a character, a segment or the length is not allowed, or the word is reserved.
    """
    slug = normalise_slug(text)
    if not 1 <= len(slug) <= MAX_LENGTH:
        raise Invalid.field(pointer, f"Between 1 and {MAX_LENGTH} characters.")
    if "/" in slug and not multi_segment:
        raise Invalid.field(pointer, "A slug of several segments is not allowed here.")
    for segment in slug.split("/"):
        if segment.strip(".") == "":
            raise Invalid.field(pointer, "A segment must not be empty or only dots.")
    for character in slug.replace("/", ""):
        if character not in _PUNCTUATION and not _CATEGORIES.match(unicodedata.category(character)):
            raise Invalid.field(
                pointer, f"U+{ord(character):04X} is not allowed: letters, digits, - _ . only."
            )
    if is_reserved(slug):
        raise Invalid.field(pointer, "This word is reserved.")
    return slug
