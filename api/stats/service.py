"""Counts clicks as they are ingested, and answers questions about them from the counts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TypeAlias

from api.core.database.routing import Database, ReadSession, WriteSession
from api.core.ids import slot_of_id
from api.links.service import LinkService
from api.stats import store
from api.stats.folding import CountedClick, fold, home_slot
from api.stats.models import DIMENSIONS, SUBJECT_LINK, SUBJECT_WORKSPACE
from api.stats.periods import Period, period_of
from api.stats.sketches import Tally, sketch_with
from api.stats.store import Selection, Subject

GROUPINGS = tuple(name for name in DIMENSIONS if name != "total")
OTHER = "(other)"
DEFAULT_GROUPS = 50
MAX_GROUPS = 500
BOTS: dict[str, bool | None] = {"exclude": False, "include": None, "only": True}
# Of each shard, as the first of all may be only the hundredth of one.
_CANDIDATES = 4 * MAX_GROUPS

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
    def add(session: WriteSession, clicks: Sequence[CountedClick]) -> None:
        """Count clicks of one shard, within the transaction that stores them.

        The rows stay locked until it ends: commit soon.
        """
        if not clicks:
            return
        rows = fold(clicks)
        changed = {}
        for key, held in store.upsert_counts(session, rows).items():
            sketch = sketch_with(held, rows[key].visitors)
            if sketch != held:
                changed[key] = sketch
        store.update_visitors(session, changed)

    def link_stats(self, workspace: int, link_id: int, query: StatsQuery) -> Stats:
        """The statistics of one link.

        Raises:
            NotFound: the workspace has no such link.
            Invalid: the period cannot be answered.
        """
        self._links.require(workspace, link_id)
        slot = slot_of_id(link_id)
        subject = Subject(workspace=workspace, slot=slot, kind=SUBJECT_LINK, identifier=link_id)
        return self._answer(subject, query, lambda: [self._db.read(slot, workspace)])

    def workspace_stats(self, workspace: int, query: StatsQuery) -> Stats:
        """The statistics of all links of a workspace together.

        Raises:
            Invalid: the period cannot be answered.
        """
        subject = Subject(
            workspace=workspace, slot=home_slot(), kind=SUBJECT_WORKSPACE, identifier=workspace
        )
        return self._answer(subject, query, self._db.read_each)

    def _answer(self, subject: Subject, query: StatsQuery, shards: Shards) -> Stats:
        period = period_of(query.start, query.end, query.interval, query.timezone, self._now())
        selection = Selection(start=period.start, end=period.end, bot=BOTS[query.bots])
        top = _top_values(subject, selection, query, shards)
        buckets = [Tally() for _ in period.bucket_starts]
        groups: defaultdict[str, Tally] = defaultdict(Tally)
        for shard in shards():
            with shard as session:
                # Clicks that arrive between two queries must not be in one part only.
                store.hold_snapshot(session)
                for bucket, clicks, packed in store.stream_buckets(
                    session, subject, selection, period.bucket_starts
                ):
                    buckets[bucket - 1].add_packed(clicks, packed)
                if query.group_by is not None:
                    for value, clicks, packed in store.stream_values(
                        session, subject, selection, query.group_by
                    ):
                        groups[value if value in top else OTHER].add_packed(clicks, packed)
        return Stats(
            period,
            _sum(buckets),
            list(zip(period.bucket_starts, buckets, strict=True)),
            None if query.group_by is None else sorted(groups.items(), key=_rank),
        )


def _top_values(
    subject: Subject, selection: Selection, query: StatsQuery, shards: Shards
) -> frozenset[str]:
    """The values that get a group of their own.

    Over several shards the choice may miss a value that is common in all and leading in none; its
    clicks are then among the others, none is lost.
    """
    if query.group_by is None:
        return frozenset()
    found: Counter[str] = Counter()
    for shard in shards():
        with shard as session:
            found.update(
                store.find_top_values(session, subject, selection, query.group_by, _CANDIDATES)
            )
    # A visitor may send the very word that names the rest; there it belongs.
    found.pop(OTHER, None)
    ranked = sorted(found, key=lambda value: (-found[value], value))
    return frozenset(ranked[: query.limit])


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        if tally.clicks:
            total.add_tally(tally)
    return total


def _rank(group: tuple[str, Tally]) -> tuple[bool, int, str]:
    value, tally = group
    return value == OTHER, -tally.clicks, value
