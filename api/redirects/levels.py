"""Where a target is looked for: in the process, then in PostgreSQL; and what is kept of it."""

from __future__ import annotations

import time

from api.core.database.routing import Database
from api.core.errors import Unavailable
from api.core.flights import Flights
from api.core.ids import slot_of
from api.redirects import store
from api.redirects.cache import Entry, Target, TargetCache
from api.redirects.refreshes import Refreshes

# How soon a database that did not answer is asked again for the same link.
_RETRY_SECONDS = 1.0


class TargetLevels:
    """Finds targets by `domain/slug`. Of visitors who want the same one at the same time, one
    asks and the others wait."""

    def __init__(self, db: Database, cache: TargetCache) -> None:
        self._db = db
        self._cache = cache
        self._flights: Flights[Target | None] = Flights()
        self._refreshes = Refreshes(self._refresh)

    def find(self, key: str) -> Target | None:
        """The target of `domain/slug`, None where there is none.

        Raises:
            Unavailable: nothing that knows it answers.
        """
        entry = self._cache.get(key)
        if entry is not None:
            now = time.monotonic()
            if now < entry.fresh_until:
                if now >= entry.renew_from:
                    self._refreshes.soon(key)
                return entry.target
        elif self._cache.is_missing(key):
            return None
        generation = self._cache.generation(key)
        # With the generation: who comes after a change must not be told what was read before it.
        return self._flights.run((key, generation), lambda: self._look(key, generation))

    def refresh_soon(self, key: str) -> None:
        """Have `domain/slug` read again in the background."""
        self._refreshes.soon(key)

    def _look(self, key: str, generation: int) -> Target | None:
        """`find`, for one visitor of many."""
        entry = self._cache.get(key)
        # Another may have found it since we looked, and be gone already.
        if entry is not None and time.monotonic() < entry.fresh_until:
            return entry.target
        if entry is None and self._cache.is_missing(key):
            return None
        return self._read(key, generation, entry)

    def _refresh(self, key: str) -> None:
        generation = self._cache.generation(key)
        try:
            self._flights.run(
                (key, generation), lambda: self._read(key, generation, self._cache.get(key))
            )
        except Unavailable:
            return  # the visitor for whom this would matter is told

    def _read(self, key: str, generation: int, entry: Entry | None) -> Target | None:
        domain, _, slug = key.partition("/")
        slot = slot_of(domain, slug)
        try:
            with self._db.read(slot) as session:
                target = store.get_target(session, slot, domain, slug)
        except Unavailable:
            if entry is None or time.monotonic() >= entry.usable_until:
                raise
            # Not every visitor should wait for a database that hangs.
            self._cache.retain(key, entry, _RETRY_SECONDS)
            return entry.target
        if target is None:
            self._cache.put_missing(key, generation)
        else:
            self._cache.put(key, target, generation)
        return target
