"""Credentials that were looked up some seconds ago, so that a busy client costs no query a call."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from api.core.evictions import Evictions
from api.core.principal import Principal

EVICTION_PREFIX = "api-key:"
# With a user's id: what they may do has changed, here or in one of their workspaces.
USER_PREFIX = "user:"
# How long a key that was revoked elsewhere may go on while Redis is away.
_LIFE_SECONDS = 3.0
_MAX_KEYS = 10_000


class _Entry(NamedTuple):
    principal: Principal
    expires_at: datetime | None
    until: float


class RecentKeys:
    """Principals by the digest of their key, bounded, the oldest dropped first.

    Only keys that are valid are kept: one that was just made is never refused for what was so
    before, and guesses push nobody out.
    """

    def __init__(self, evictions: Evictions) -> None:
        self._evictions = evictions
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        evictions.on_evict(self._evict)

    def get(self, digest: bytes, now: datetime) -> Principal | None:
        """Whom the key stands for, where that was asked a moment ago."""
        entry = self._entries.get(digest)
        if entry is None or time.monotonic() > entry.until:
            return None
        if entry.expires_at is not None and entry.expires_at <= now:
            return None
        return entry.principal

    def put(self, digest: bytes, principal: Principal, expires_at: datetime | None) -> None:
        """Remember whom a valid key stands for."""
        entry = _Entry(principal, expires_at, time.monotonic() + _LIFE_SECONDS)
        with self._lock:
            self._entries.pop(digest, None)
            self._entries[digest] = entry
            if len(self._entries) > _MAX_KEYS:
                self._entries.popitem(last=False)

    def forget(self, key_id: int) -> None:
        """Forget a key here and in every process: it was revoked."""
        self._evictions.publish([f"{EVICTION_PREFIX}{key_id}"])

    def _evict(self, keys: Sequence[str]) -> None:
        ids, users = _ids(keys, EVICTION_PREFIX), _ids(keys, USER_PREFIX)
        if not ids and not users:
            return
        with self._lock:
            gone = [
                digest
                for digest, (caller, _, _) in self._entries.items()
                if str(caller.credential_id) in ids or str(caller.user_id) in users
            ]
            for digest in gone:
                del self._entries[digest]


def _ids(keys: Sequence[str], prefix: str) -> set[str]:
    return {key.removeprefix(prefix) for key in keys if key.startswith(prefix)}
