"""Where a target is looked for: in the process, in Redis, in PostgreSQL; and what is kept of it."""

from __future__ import annotations

import time
from typing import NamedTuple

from api.core.database.routing import LATEST, Database
from api.core.errors import Unavailable
from api.core.flights import Flights
from api.core.ids import slot_of
from api.redirects import store
from api.redirects.cache import Entry, Target, TargetCache
from api.redirects.refreshes import Refreshes
from api.redirects.shared import NOTHING, Found, SharedTargets

# How soon a database that did not answer is asked again for the same link.
_RETRY_SECONDS = 1.0

# Where a target was found, as logs and metrics call it.
PROCESS, REDIS, DATABASE, REPLICA = "process", "redis", "database", "replica"
# Somewhere, past its life: nothing that could tell better answered.
STALE = "stale"
# Nowhere: there is no such link.
MISSING = "missing"


class Located(NamedTuple):
    """A target, and the level that it was found at."""

    target: Target | None
    level: str
    age_seconds: float = 0.0  # of the copy, as far as is known


NOWHERE = Located(None, MISSING)


class TargetLevels:
    """Finds targets by `domain/slug`. Of visitors who want the same one at the same time, one
    asks and the others wait."""

    def __init__(self, db: Database, cache: TargetCache, shared: SharedTargets | None) -> None:
        self._db = db
        self._cache = cache
        self._shared = shared
        self._flights: Flights[Located] = Flights()
        self._refreshes = Refreshes(self._refresh)

    def find(self, key: str) -> Located:
        """The target of `domain/slug`; of those who waited for it, each is told where it was.

        Raises:
            Unavailable: nothing that knows it answers.
        """
        entry = self._cache.get(key)
        if entry is not None:
            now = time.monotonic()
            if now < entry.fresh_until:
                if now >= entry.renew_from:
                    self._refreshes.soon(key)
                return _kept(entry)
        elif self._cache.is_missing(key):
            return NOWHERE
        generation = self._cache.generation(key)
        # With the generation: who comes after a change must not be told what was read before it.
        return self._flights.run((key, generation), lambda: self._look(key, generation))

    def refresh_soon(self, key: str) -> None:
        """Have `domain/slug` read again in the background."""
        self._refreshes.soon(key)

    def _look(self, key: str, generation: int) -> Located:
        """`find`, for one visitor of many."""
        entry = self._cache.get(key)
        # Another may have found it since we looked, and be gone already.
        if entry is not None and time.monotonic() < entry.fresh_until:
            return _kept(entry)
        if entry is None and self._cache.is_missing(key):
            return NOWHERE
        return self._load(key, generation, renews=False)

    def _refresh(self, key: str) -> None:
        generation = self._cache.generation(key)
        try:
            self._flights.run((key, generation), lambda: self._load(key, generation, renews=True))
        except Unavailable:
            return  # the visitor for whom this would matter is told

    def _load(self, key: str, generation: int, *, renews: bool) -> Located:
        """Look in Redis, then in PostgreSQL; one that `renews` makes a copy again in time."""
        found = self._shared.look(key) if self._shared else NOTHING
        if found.fresh and not (found.ageing and renews):
            shared = self._keep(key, found.target, generation, found.left_seconds)
            if found.ageing:
                self._refreshes.soon(key)
            entry = self._cache.get(key)
            return _located(shared, REDIS, _age_of(entry) if entry else 0.0)
        try:
            row, level, _ = self._query(key, found)
        except Unavailable:
            old = self._ask_replica(key, generation) or self._make_do(key, generation, found)
            if old is None:
                raise
            return old
        target = self._keep(key, row, generation)
        if self._shared:
            self._shared.keep(key, found, target)
        return _located(target, level)

    def _query(self, key: str, found: Found) -> Located:
        """What the database, or a replica that is fresh enough, holds; never what was so before a
        change that somebody heard of.

        A process that has not heard of it yet finds the tombstone of the copy in Redis.
        """
        domain, _, slug = key.partition("/")
        slot = slot_of(domain, slug)
        settled = self._shared is None or found.settled
        since = self._cache.fresh_from(key) if settled else LATEST
        with self._db.read(slot, since=since) as session:
            target = store.get_target(session, slot, domain, slug)
            return Located(target, REPLICA if session.is_replica else DATABASE)

    def _keep(
        self, key: str, target: Target | None, generation: int, seconds: float | None = None
    ) -> Target | None:
        """Keep what was found; the target as the block rules judge it."""
        if target is None:
            self._cache.put_missing(key, generation)
            return None
        return self._cache.put(key, target, generation, seconds=seconds)

    def _make_do(self, key: str, generation: int, found: Found) -> Located | None:
        """What is left while the database is away, if anything; for a moment without asking again,
        so that not every visitor waits for a database that hangs."""
        if found.target is not None:
            seconds = max(found.left_seconds, _RETRY_SECONDS)
            target = self._cache.put(key, found.target, generation, seconds=seconds, stale=True)
            return Located(target, STALE)
        entry = self._cache.get(key)
        if entry is None or time.monotonic() >= entry.usable_until:
            return None
        self._cache.retain(key, entry, _RETRY_SECONDS)
        return Located(entry.target, STALE, _age_of(entry))

    def _ask_replica(self, key: str, generation: int) -> Located | None:
        """What a replica holds, which may lag: for a moment, and for this process alone."""
        domain, _, slug = key.partition("/")
        slot = slot_of(domain, slug)
        try:
            with self._db.read_replica(slot) as session:
                target = store.get_target(session, slot, domain, slug)
        except Unavailable:
            return None
        # Of one that it has not, nobody can tell whether it is only too new.
        if target is None:
            return None
        target = self._cache.put(key, target, generation, seconds=_RETRY_SECONDS, stale=True)
        return Located(target, REPLICA)


def _kept(entry: Entry) -> Located:
    return Located(entry.target, STALE if entry.stale else PROCESS, _age_of(entry))


def _located(target: Target | None, level: str, age_seconds: float = 0.0) -> Located:
    return NOWHERE if target is None else Located(target, level, age_seconds)


def _age_of(entry: Entry) -> float:
    return time.monotonic() - entry.read_at
