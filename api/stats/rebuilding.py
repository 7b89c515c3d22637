"""Makes counts again from raw clicks, and tells how they differ from those that are there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from api.core.database.routing import Database, ReadSession, WriteSession
from api.stats import sketches, store
from api.stats.compaction import merge_folds
from api.stats.folding import CountedClick, Fold, LinkPlace, fold
from api.stats.models import DIMENSIONS
from api.stats.store import REBUILT, CountPart
from api.stats.values import OTHER, values

Clicks = Callable[[ReadSession, datetime, datetime], Iterable[Sequence[CountedClick]]]
Places = Callable[[ReadSession, Collection[int]], Mapping[int, LinkPlace]]
Horizons = Callable[[ReadSession], Mapping[int, datetime]]


@dataclass(slots=True)
class Difference:
    """Counts from raw clicks against those that are there."""

    clicks: int = 0  # raw clicks that were read
    counts: int = 0  # of a subject, time, and bot or person
    differing: int = 0  # of those, how many are not the same
    clicks_apart: int = 0  # by how many clicks, without sign

    def add(self, other: Difference) -> None:
        """Take in another difference."""
        self.clicks += other.clicks
        self.counts += other.counts
        self.differing += other.differing
        self.clicks_apart += other.clicks_apart


class Rebuild:
    """Makes the counts of a shard again, one span of whole days at a time.

    Clicks go on being counted meanwhile: what arrives after a span was begun is added to what is
    rebuilt, as it would be to what was there.
    """

    def __init__(
        self,
        db: Database,
        clicks: Clicks,
        find_horizons: Horizons,
        find_places: Places,
        lock_clicks: Callable[[WriteSession], None],
    ) -> None:
        """`clicks` streams a shard's raw clicks of a time in the order of their links;
        `find_horizons` tells by workspace since when these are complete: counts of days that begin
        before are left as they are. `lock_clicks` keeps raw clicks from being dropped, and must not
        look at any: what the transaction sees is settled by the first look."""
        self._db = db
        self._clicks = clicks
        self._find_horizons = find_horizons
        self._find_places = find_places
        self._lock_clicks = lock_clicks

    def run(
        self,
        shard: str,
        start: datetime,
        end: datetime,
        *,
        dry_run: bool,
        on_clicks: Callable[[int], None] = lambda _: None,
    ) -> Difference:
        """Compare the counts of a shard from `start` up to `end`, two midnights of
        UTC, with those that raw clicks give; where any differ, put these into their place, unless
        it is a dry run.

        `on_clicks` is told how many raw clicks were read since it was told before.

        Raises:
            Unavailable: the database is away.
        """
        # The lock in a transaction of its own: this one's snapshot must be taken once it is held.
        with self._db.write_shard(shard) as guard, self._db.write_shard(shard) as session:
            store.lock_rewriting(guard)
            store.hold_snapshot(session)
            self._lock_clicks(session)
            store.create_rebuilt(session, self._find_horizons(session))
            difference = Difference()
            for clicks in self._complete(session, start, end):
                places = self._find_places(session, {click.link_id for click in clicks})
                store.copy_counts(session, fold(clicks, places), REBUILT)
                difference.clicks += len(clicks)
                on_clicks(len(clicks))
            if store.has_replaced(session, start, end):
                for key_parts in _by_key(store.stream_both(session, start, end)):
                    _compare(key_parts, difference)
            else:
                difference.counts, difference.clicks_apart = store.sum_rebuilt(session)
                difference.differing = difference.counts
            if difference.differing and not dry_run:
                store.replace_rebuilt(session, start, end)
        return difference

    def _complete(
        self, session: ReadSession, start: datetime, end: datetime
    ) -> Iterator[Sequence[CountedClick]]:
        kept = store.find_kept(session)
        for clicks in self._clicks(session, start, end):
            counted = [click for click in clicks if click.at_ms >= kept.get(click.workspace_id, 0)]
            if counted:
                yield counted


def _by_key(rows: Iterable[tuple[bool, CountPart]]) -> Iterator[list[tuple[bool, CountPart]]]:
    for _, group in groupby(rows, lambda row: row[1].key):
        yield list(group)


def _compare(parts: Sequence[tuple[bool, CountPart]], difference: Difference) -> None:
    held = [part.fold for rebuilt, part in parts if not rebuilt]
    made = [part.fold for rebuilt, part in parts if rebuilt]
    apart = abs(sum(map(attrgetter("clicks"), held)) - sum(map(attrgetter("clicks"), made)))
    difference.counts += 1
    difference.clicks_apart += apart
    if apart or not held or not made or not _same(merge_folds(held), merge_folds(made)):
        difference.differing += 1


def _same(one: Fold, other: Fold) -> bool:
    if not _same_visitors(one.visitors, other.visitors):
        return False
    return all(
        _same_values(_split(one, place), _split(other, place)) for place in range(len(DIMENSIONS))
    )


def _split(folded: Fold, place: int) -> dict[str, int]:
    packed = folded.dimensions[place]
    return {value: clicks for value, clicks, _ in values(folded.clicks, b"", packed)}


def _same_values(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    # Which values are folded into the rest depends on the order in which clicks came.
    return one == other or OTHER in one or OTHER in other


def _same_visitors(one: bytes, other: bytes) -> bool:
    """Whether two counts have the same visitors; estimates may be a little apart."""
    left, right = sketches.count([one]), sketches.count([other])
    return abs(left - right) <= (0 if sketches.are_exact(one, other) else 0.02 * max(left, right))
