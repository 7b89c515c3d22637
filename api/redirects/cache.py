"""The process's own copy of links: bounded, and kept past its life for times of need."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from api.targets.rules import Block

EVICTION_PREFIX = "link:"
_STRIPES = 1024
# Misses are forgotten sooner than links: nobody waits for one, and scanners bring many.
_MISS_SECONDS = 5.0
_UNSYNCED_MISS_SECONDS = 1.0
_MISSES = 10_000
# What CPython takes for an entry beside its texts; bench/cache_memory measures it.
_ENTRY_BYTES = 640
# An entry that is asked for in the last part of its life is to be read again.
_LAST_PART = 0.2
# How many are judged again before others have their turn.
_SLICE = 200


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
    # What the rules say of `url`; not of the link's row, and judged by `TargetCache`.
    block: Block | None = None


class Entry(NamedTuple):
    """A target, and moments (monotonic seconds): until when it is fresh and usable, and from when
    a visit should let it be read again."""

    target: Target
    fresh_until: float
    usable_until: float
    renew_from: float
    # Kept past its life, as nobody could tell better.
    stale: bool = False
    # About when it was read from a database (monotonic seconds).
    read_at: float = 0.0


PutListener = Callable[[str, Entry], None]
Judge = Callable[[Target], Target]


class Generations(NamedTuple):
    """What counted as read before what, for all keys at one moment."""

    epoch: int
    stripes: Sequence[int]

    def of(self, key: str) -> int:
        """The generation of one key at that moment."""
        return self.epoch + self.stripes[hash(key) % _STRIPES]


class TargetCache:
    """Targets by domain and slug, and slugs of which there is none; bounded by number and bytes,
    the least recently used goes first.

    While evictions arrive from other processes an entry lives long, otherwise a second or so.
    """

    def __init__(
        self,
        *,
        entries: int,
        synced_seconds: float,
        unsynced_seconds: float,
        stale_seconds: float,
        size_bytes: int = 1 << 27,
        judge: Judge = lambda target: target,
    ) -> None:
        """`judge` adds to a target what the block rules say of it now."""
        self._max_entries = entries
        self._max_bytes = size_bytes
        self._synced_seconds = synced_seconds
        self._unsynced_seconds = unsynced_seconds
        self._stale_seconds = stale_seconds
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._size_bytes = 0
        self._miss_seconds = min(synced_seconds, _MISS_SECONDS)
        self._unsynced_miss_seconds = min(unsynced_seconds, _UNSYNCED_MISS_SECONDS)
        self._misses: OrderedDict[str, float] = OrderedDict()
        self._judge = judge
        self._on_put: list[PutListener] = []
        self._lock = threading.Lock()
        self._synced = False
        # Count what may have made a load, begun before it, out of date: for all keys, and for
        # those of a stripe, so that a busy writer does not keep other links from being cached.
        self._epoch = 0
        self._evicted = [0] * _STRIPES
        # When, for those who read replicas: what lags must not be kept as if it were news.
        self._synced_at = math.inf
        self._evicted_at = [0.0] * _STRIPES
        self._last_evicted_at = 0.0

    @property
    def synced(self) -> bool:
        """Whether evictions of other processes arrive."""
        return self._synced

    @property
    def size_bytes(self) -> int:
        """About how much memory the entries take."""
        return self._size_bytes

    def __len__(self) -> int:
        return len(self._entries)

    def on_put(self, listener: PutListener) -> None:
        """Call `listener` with each key and entry, when it is kept, its life is longer than before
        or it is judged otherwise.

        It is called while the cache is locked, so that no eviction comes between the two; it must
        not call the cache. Who also listens to evictions has to be called after the cache.
        """
        self._on_put.append(listener)

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

    def fresh_from(self, key: str) -> float:
        """The moment (monotonic seconds) of which at least a read of `domain/slug` must be: when it
        was changed last, as far as was heard. While evictions do not arrive there is none."""
        return max(self._synced_at, self._evicted_at[hash(key) % _STRIPES])

    def all_fresh_from(self) -> float:
        """The same for all keys."""
        return max(self._synced_at, self._last_evicted_at)

    def generations(self) -> Generations:
        """The generations of all keys, for who reads many at once."""
        with self._lock:
            return Generations(self._epoch, tuple(self._evicted))

    def put(
        self,
        key: str,
        target: Target,
        generation: int,
        *,
        seconds: float | None = None,
        stale: bool = False,
    ) -> Target:
        """Keep a target that was read since `generation`, as fresh for `seconds`, at most for the
        usual life, though it may be `stale`; answers it as it is judged."""
        with self._lock:
            # Within the lock, so that `judge_again` finds it or it is judged by the new rules.
            target = self._judge(target)
            if generation != self.generation(key):
                return target  # it may have been evicted meanwhile; the next visit reads again
            life = self._life(seconds)
            now = time.monotonic()
            usable_until = now + life + self._stale_seconds
            renew_from = now + life * (1 - _LAST_PART)
            # What comes with a part of its life left was read when that began.
            read_at = now - (self._life(None) - life)
            entry = Entry(target, now + life, usable_until, renew_from, stale, read_at)
            self._misses.pop(key, None)
            self._keep(key, entry)
            return target

    def put_absent(
        self, key: str, target: Target, generation: int, *, seconds: float | None = None
    ) -> None:
        """Like `put`, where nothing is kept under `key` yet and there is room without dropping."""
        size = entry_bytes(key, target)
        room = len(self._entries) < self._max_entries and self._size_bytes + size < self._max_bytes
        if room and key not in self._entries:
            self.put(key, target, generation, seconds=seconds)

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
            self._drop(key)
            life = self._miss_seconds if self._synced else self._unsynced_miss_seconds
            self._misses[key] = time.monotonic() + life
            self._misses.move_to_end(key)
            if len(self._misses) > _MISSES:
                self._misses.popitem(last=False)

    def retain(self, key: str, entry: Entry, seconds: float) -> None:
        """Let an entry count as fresh for a moment at least, and not be read again before its end:
        nobody can tell better at present."""
        now = time.monotonic()
        fresh_until = max(entry.fresh_until, min(now + seconds, entry.usable_until))
        with self._lock:
            if self._entries.get(key) is entry:
                retained = entry._replace(
                    fresh_until=fresh_until, renew_from=now + seconds, stale=True
                )
                self._keep(key, retained)

    def evict(self, keys: Sequence[str]) -> None:
        """Make entries stale, and forget misses: their links were changed or made."""
        with self._lock:
            now = time.monotonic()
            for key in keys:
                if not key.startswith(EVICTION_PREFIX):
                    continue
                name = key.removeprefix(EVICTION_PREFIX)
                stripe = hash(name) % _STRIPES
                self._evicted[stripe] += 1
                self._evicted_at[stripe] = self._last_evicted_at = now
                self._misses.pop(name, None)
                if name in self._entries:
                    # Kept, not dropped: better an old target than none when the database is away.
                    self._entries[name] = self._entries[name]._replace(fresh_until=0.0)

    def judge_again(self, judge: Judge) -> None:
        """Judge all entries by `judge`, some at a time, after the rules have changed."""
        with self._lock:
            keys = list(self._entries)
        for start in range(0, len(keys), _SLICE):
            with self._lock:
                for key in keys[start : start + _SLICE]:
                    entry = self._entries.get(key)
                    if entry is None:
                        continue
                    target = judge(entry.target)
                    if target is not entry.target:
                        self._entries[key] = entry = entry._replace(target=target)
                        for listener in self._on_put:
                            listener(key, entry)
            time.sleep(0)

    def set_synced(self, synced: bool) -> None:
        """Note whether evictions arrive. With each change, what was missed is unknown."""
        with self._lock:
            if synced == self._synced:
                return
            self._synced = synced
            self._synced_at = time.monotonic() if synced else math.inf
            self._epoch += 1
            self._misses.clear()
            limit = time.monotonic() + self._unsynced_seconds
            for key, entry in self._entries.items():
                fresh = 0.0 if synced else min(entry.fresh_until, limit)
                self._entries[key] = entry._replace(fresh_until=fresh)

    def _life(self, seconds: float | None) -> float:
        life = self._synced_seconds if self._synced else self._unsynced_seconds
        return life if seconds is None else min(seconds, life)

    def _keep(self, key: str, entry: Entry) -> None:
        self._drop(key)
        self._entries[key] = entry
        self._size_bytes += entry_bytes(key, entry.target)
        while len(self._entries) > self._max_entries or self._size_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))
        for listener in self._on_put:
            listener(key, entry)

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size_bytes -= entry_bytes(key, entry.target)


def entry_bytes(key: str, target: Target) -> int:
    """About how much memory an entry takes; a function of nothing that changes."""
    texts = (key, target.url, target.password_hash or "")
    # CPython keeps a text in the width of its widest character: one byte, two or four.
    return _ENTRY_BYTES + sum(len(it) if it.isascii() else 4 * len(it) for it in texts)
