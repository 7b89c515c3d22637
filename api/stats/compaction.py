"""Replaces the many parts of a count by one, so that questions stay quick."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from api.core.database.routing import Database
from api.core.ids import HOME_SLOT
from api.stats import sketches, store, values
from api.stats.folding import Count, Fold
from api.stats.models import DIMENSIONS
from api.stats.sketches import WHOLE
from api.stats.store import CountPart

# Parts looked at in one transaction.
_PARTS_AT_ONCE = 10_000
# Younger parts are left: their neighbours are still to come.
_MIN_AGE_SECONDS = 5.0


class Compaction:
    """Compacts the counts of all shards; of several processes one does it at a time."""

    def __init__(self, db: Database, min_age_seconds: float = _MIN_AGE_SECONDS) -> None:
        self._db = db
        self._min_age_seconds = min_age_seconds

    def __call__(self) -> int:
        """Compact a bounded number of parts of each shard; how many are gone. To be called again
        until it is 0.

        Only parts that are older than the least age are looked at.

        Raises:
            Unavailable: a database is away.
        """
        return sum(map(self._compact, self._db.shards()))

    def _compact(self, shard: str) -> int:
        before = int((time.time() - self._min_age_seconds) * 1_000_000) << 10
        removed = 0
        while not removed:
            with self._db.write_shard(shard) as session:
                if not store.try_lock_rewriting(session):
                    return 0
                after = store.get_progress(session, HOME_SLOT)
                last = store.find_last_part(session, after, before, _PARTS_AT_ONCE)
                if last is None:
                    return 0
                parts = store.find_divided(session, after, last)
                merged = [merge(list(same)) for _, same in groupby(parts, attrgetter("key"))]
                if parts:
                    store.replace_parts(session, parts, merged)
                store.update_progress(session, HOME_SLOT, last)
            removed = len(parts) - len(merged)
        return removed


def merge(parts: Sequence[CountPart]) -> Count:
    """All parts of one count as one."""
    folds = [part.fold for part in parts]
    return store.count_of(parts[0], max(part.part for part in parts), merge_folds(folds))


def merge_folds(folds: Sequence[Fold]) -> Fold:
    """Folds of different clicks as one."""
    return Fold(
        sum(fold.clicks for fold in folds),
        sketches.merge([fold.visitors for fold in folds], WHOLE),
        tuple(
            values.merge((fold.clicks, fold.visitors, fold.dimensions[place]) for fold in folds)
            for place in range(len(DIMENSIONS))
        ),
    )
