"""Counts clicks, and answers questions about them."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from operator import attrgetter
from typing import TypeAlias

from api.core.database.routing import Database, ReadSession, WriteSession
from api.core.errors import Invalid
from api.core.ids import HOME_SLOT, slot_of_id
from api.links.service import LinkService
from api.stats import store
from api.stats.compaction import Compaction
from api.stats.folding import Count, CountedClick, LinkPlace, domain_id, fold, tag_id
from api.stats.models import DIMENSIONS, SUBJECT_DOMAIN, SUBJECT_TAG, SUBJECT_WORKSPACE
from api.stats.periods import Period, period_of
from api.stats.rebuilding import Difference, Rebuild
from api.stats.spans import Spans, spans_of
from api.stats.store import CountRow, Subject
from api.stats.tallies import Tallies, Tally
from api.stats.values import OTHER, values

__all__ = ["Compaction", "Difference", "Rebuild", "StatsQuery", "StatsService"]

GROUPINGS = DIMENSIONS
DEFAULT_GROUPS = 50
MAX_GROUPS = 500
BOTS: dict[str, bool | None] = {"exclude": False, "include": None, "only": True}

_SECONDS_OF_DAY = 86_400
Shards: TypeAlias = Callable[[], Iterable[AbstractContextManager[ReadSession]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsQuery:
    """A question. A date stands for local midnight, as `end` for the midnight after it."""

    start: datetime | date | None = None
    end: datetime | date | None = None
    interval: str = "day"
    group_by: str | None = None
    timezone: str = "UTC"
    bots: str = "exclude"
    limit: int = DEFAULT_GROUPS
    # Of a workspace's links only those on this domain, or with this tag.
    domain: str | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """An answer: the tally of the period, of each of its buckets, and of each group."""

    period: Period
    total: Tally
    series: Sequence[tuple[datetime, Tally]]
    groups: Sequence[tuple[str, Tally]] | None


class StatsService:
    """What is known about the clicks of a link or of a workspace.

    Visitors are told apart by a hash that changes its key every day, so over several days a
    person counts once for each day on which they came.
    """

    def __init__(
        self,
        db: Database,
        links: LinkService,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._db = db
        self._links = links
        self._now = now

    @staticmethod
    def fold(clicks: Sequence[CountedClick], places: Mapping[int, LinkPlace]) -> Sequence[Count]:
        """What clicks of one shard add to its counts; `places` tells of their links by id."""
        return fold(clicks, places)

    @staticmethod
    def add(session: WriteSession, counts: Sequence[Count]) -> None:
        """Count folded clicks of one shard, within the transaction that stores them."""
        if counts:
            store.copy_counts(session, counts)

    @staticmethod
    def erase_link(session: WriteSession, slot: int, link_id: int) -> None:
        """Delete the counts of one link; those of its workspace, domain and tags stay."""
        store.lock_rewriting(session)
        store.delete_counts(session, store.link_subject(slot, link_id))

    def link_stats(self, workspace: int, link_id: int, query: StatsQuery) -> Stats:
        """The statistics of one link.

        Raises:
            NotFound: the workspace has no such link.
            Invalid: the period cannot be answered.
        """
        self._links.require(workspace, link_id)
        slot = slot_of_id(link_id)
        subject = store.link_subject(slot, link_id)
        return self._answer(subject, query, lambda: [self._db.read(slot, workspace)])

    def workspace_stats(self, workspace: int, query: StatsQuery) -> Stats:
        """The statistics of all links of a workspace together, or of those that are asked for.

        Clicks count under the tags that their link had as they were counted.

        Raises:
            Invalid: the period cannot be answered, or both a domain and a tag are given.
        """
        if query.domain is not None and query.tag is not None:
            raise Invalid.parameter("tag", "Cannot be combined with `domain`.")
        kind, identifier = SUBJECT_WORKSPACE, workspace
        if query.domain is not None:
            kind, identifier = SUBJECT_DOMAIN, domain_id(workspace, query.domain.lower())
        elif query.tag is not None:
            kind, identifier = SUBJECT_TAG, tag_id(workspace, query.tag)
        subject = Subject(slot=HOME_SLOT, kind=kind, identifier=identifier)
        return self._answer(subject, query, lambda: self._db.read_each(workspace))

    def _answer(self, subject: Subject, query: StatsQuery, shards: Shards) -> Stats:
        period = period_of(query.start, query.end, query.interval, query.timezone, self._now())
        bot = BOTS[query.bots]
        edges = [period.start, *period.bucket_starts[1:], period.end]
        with ExitStack() as opened:
            sessions = [opened.enter_context(shard) for shard in shards()]
            for session in sessions:
                # Clicks that arrive between two queries must not be in one part only.
                store.hold_snapshot(session)

            def rows(spans: Spans, dimension: str | None) -> Iterator[CountRow]:
                # In the order of time: the visitors of a day are merged over shards.
                return heapq.merge(
                    *(
                        store.stream_counts(session, subject, spans, bot, dimension)
                        for session in sessions
                    ),
                    key=attrgetter("start"),
                )

            total, series = _series(period, rows(spans_of(edges), None))
            groups = None
            if query.group_by is not None:
                whole = spans_of([period.start, period.end])
                groups = _groups(rows(whole, query.group_by), query.limit)
        return Stats(period, total, series, groups)


def _day(row: CountRow) -> int:
    return int(row.start.timestamp()) // _SECONDS_OF_DAY


def _series(
    period: Period, rows: Iterable[CountRow]
) -> tuple[Tally, Sequence[tuple[datetime, Tally]]]:
    starts = period.bucket_starts
    total: Tallies[None] = Tallies()
    buckets: Tallies[int] = Tallies()
    for row in rows:
        day = _day(row)
        total.add(day, None, row.clicks, row.visitors)
        bucket = max(bisect_right(starts, row.start) - 1, 0)
        buckets.add(day, bucket, row.clicks, row.visitors)
    return total[None], [(start, buckets[place]) for place, start in enumerate(starts)]


def _groups(rows: Iterable[CountRow], limit: int) -> Sequence[tuple[str, Tally]]:
    """The groups with the most clicks, and all others as one at the end."""
    tallies: Tallies[str] = Tallies()
    for row in rows:
        day = _day(row)
        for value, clicks, visitors in values(row.clicks, row.visitors, row.values):
            tallies.add(day, value, clicks, visitors)
    found = dict(tallies.items())
    # A visitor may send the very word that names the rest; there it belongs.
    rest = [found.pop(OTHER)] if OTHER in found else []
    ranked = sorted(found.items(), key=lambda group: (-group[1].clicks, group[0]))
    rest += [tally for _, tally in ranked[limit:]]
    groups = ranked[:limit]
    if rest:
        together = Tally(sum(one.clicks for one in rest), sum(one.visitors for one in rest))
        groups.append((OTHER, together))
    return groups
