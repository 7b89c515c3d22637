"""The process's own copy of links: bounded, and kept past its life for times of need."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

EVICTION_PREFIX = "link:"
_STRIPES = 1024
# Misses are forgotten sooner than links: nobody waits for one, and scanners bring many.
_MISS_SECONDS = 5.0
_UNSYNCED_MISS_SECONDS = 1.0
_MISSES = 10_000


@dataclass(frozen=True, slots=True)
class Target:
    """What a redirect needs to know of a link."""

    slot: int
    id: int
    workspace_id: int
    url: str
    starts_at: datetime | None
    expires_at: datetime | None
    limited: bool
    password_hash: str | None
    redirect_status: int
    forward_query: bool
    enabled: bool
    deleted: bool


class Entry(NamedTuple):
    """A target and the moments (monotonic seconds) until which it is fresh and usable."""

    target: Target
    fresh_until: float
    usable_until: float


class TargetCache:
    """Targets by domain and slug, and slugs of which there is none; the least recently used goes
    first.

    While evictions arrive from other processes an entry lives long, otherwise a second or so.
    """

    def __init__(
        self, *, entries: int, synced_seconds: float, unsynced_seconds: float, stale_seconds: float
    ) -> None:
        self._max_entries = entries
        self._synced_seconds = synced_seconds
        self._unsynced_seconds = unsynced_seconds
        self._stale_seconds = stale_seconds
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._miss_seconds = min(synced_seconds, _MISS_SECONDS)
        self._unsynced_miss_seconds = min(unsynced_seconds, _UNSYNCED_MISS_SECONDS)
        self._misses: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()
        self._synced = False
        # Count what may have made a load, begun before it, out of date: for all keys, and for
        # those of a stripe, so that a busy writer does not keep other links from being cached.
        self._epoch = 0
        self._evicted = [0] * _STRIPES

    def get(self, key: str) -> Entry | None:
        """The entry of `domain/slug`, fresh or not."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def generation(self, key: str) -> int:
        """A number that grows when what was read before may be out of date."""
        return self._epoch + self._evicted[hash(key) % _STRIPES]

    def put(self, key: str, target: Target, generation: int) -> None:
        """Keep a target that was read from the database since `generation`."""
        now = time.monotonic()
        with self._lock:
            if generation != self.generation(key):
                return  # it may have been evicted meanwhile; the next visit reads again
            life = self._synced_seconds if self._synced else self._unsynced_seconds
            self._entries[key] = Entry(target, now + life, now + life + self._stale_seconds)
            self._misses.pop(key, None)
            self._entries.move_to_end(key)
            if len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)

    def is_missing(self, key: str) -> bool:
        """Whether a moment ago there was no link at `domain/slug`."""
        with self._lock:
            until = self._misses.get(key)
            if until is None:
                return False
            if time.monotonic() >= until:
                del self._misses[key]
                return False
            self._misses.move_to_end(key)
            return True

    def put_missing(self, key: str, generation: int) -> None:
        """Keep for a moment that nothing was found in the database since `generation`."""
        with self._lock:
            if generation != self.generation(key):
                return  # a link may have been made meanwhile
            self._entries.pop(key, None)
            life = self._miss_seconds if self._synced else self._unsynced_miss_seconds
            self._misses[key] = time.monotonic() + life
            self._misses.move_to_end(key)
            if len(self._misses) > _MISSES:
                self._misses.popitem(last=False)

    def retain(self, key: str, entry: Entry, seconds: float) -> None:
        """Let a stale entry count as fresh for a moment: nobody can tell better at present."""
        fresh_until = min(time.monotonic() + seconds, entry.usable_until)
        with self._lock:
            if self._entries.get(key) is entry:
                self._entries[key] = entry._replace(fresh_until=fresh_until)

    def evict(self, keys: Sequence[str]) -> None:
        """Make entries stale, and forget misses: their links were changed or made."""
        with self._lock:
            for key in keys:
                if not key.startswith(EVICTION_PREFIX):
                    continue
                name = key.removeprefix(EVICTION_PREFIX)
                self._evicted[hash(name) % _STRIPES] += 1
                self._misses.pop(name, None)
                if name in self._entries:
                    # Kept, not dropped: better an old target than none when the database is away.
                    self._entries[name] = self._entries[name]._replace(fresh_until=0.0)

    def set_synced(self, synced: bool) -> None:
        """Note whether evictions arrive. With each change, what was missed is unknown."""
        with self._lock:
            if synced == self._synced:
                return
            self._synced = synced
            self._epoch += 1
            self._misses.clear()
            limit = time.monotonic() + self._unsynced_seconds
            for key, entry in self._entries.items():
                fresh = 0.0 if synced else min(entry.fresh_until, limit)
                self._entries[key] = entry._replace(fresh_until=fresh)
