"""Visitors told apart without being known: a keyed hash whose key changes every day."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

_CACHE_ENTRIES = 50_000


class VisitorHash:
    """Hashes address and user agent to 64 bits.

    The key of a day is derived from the secret key, so every process has the same one, and without
    the secret key nobody can try addresses. Across days the hashes of one visitor are unrelated.
    """

    def __init__(self, secret_key: bytes) -> None:
        self._key = blake2b(secret_key, digest_size=32, person=b"clicks.visitor").digest()
        self._day_key = lru_cache(64)(self._derive)
        self.visitor = lru_cache(_CACHE_ENTRIES)(self._visitor)

    def _derive(self, day: int) -> bytes:
        return blake2b(str(day).encode(), key=self._key, digest_size=32).digest()

    def _visitor(self, day: int, address: bytes, user_agent: str) -> int:
        """A signed 64-bit number; `day` counts the UTC days since 1970."""
        seen = b"%b\0%b" % (address, user_agent.encode("utf-8", "replace"))
        digest = blake2b(seen, key=self._day_key(day), digest_size=8).digest()
        return int.from_bytes(digest, signed=True)
