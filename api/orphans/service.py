"""Counts visits that no link answered, as they are ingested, and answers questions about them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from api.clicks.records import (
    ORPHAN_GONE,
    ORPHAN_INACTIVE,
    ORPHAN_ROOT,
    ORPHAN_UNKNOWN,
    OrphanRecord,
)
from api.core.database.routing import Database, WriteSession
from api.core.ids import slot_of_host
from api.domains.service import DomainService
from api.orphans import store
from api.orphans.store import CountKey, Selection
from api.stats.periods import Period, period_of

KINDS = {
    "unknown": ORPHAN_UNKNOWN,
    "gone": ORPHAN_GONE,
    "inactive": ORPHAN_INACTIVE,
    "root": ORPHAN_ROOT,
}
MAX_GROUPS = 500
_NAMES = {number: name for name, number in KINDS.items()}
_QUARTER_MS = 900_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_MS = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000)
_SKEW_MS = 5 * 60 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanQuery:
    """A question. A date stands for local midnight, as `end` for the midnight after it."""

    start: datetime | date | None = None
    end: datetime | date | None = None
    interval: str = "day"
    timezone: str = "UTC"
    kind: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Orphans:
    """An answer: the visits of the period, of each of its buckets, and by kind and host."""

    period: Period
    total: int
    series: Sequence[tuple[datetime, int]]
    groups: Sequence[tuple[str, str, int]]


class OrphanService:
    """What is known about visits that no link answered."""

    def __init__(
        self,
        db: Database,
        domains: DomainService,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._db = db
        self._domains = domains
        self._now = now

    @staticmethod
    def add(session: WriteSession, orphans: Sequence[OrphanRecord]) -> None:
        """Count visits at hosts of one shard, within the transaction that remembers their segment.

        The rows stay locked until it ends: commit soon.
        """
        counts: Counter[CountKey] = Counter()
        now_ms = time.time_ns() // 1_000_000
        for at_ms, kind, host, workspace_id, visits in orphans:
            # A moment that a wrong clock gave is replaced by ours.
            known_ms = at_ms if _EARLIEST_MS <= at_ms <= now_ms + _SKEW_MS else now_ms
            quarter = _EPOCH + timedelta(milliseconds=known_ms - known_ms % _QUARTER_MS)
            counts[CountKey(slot_of_host(host), workspace_id, host, kind, quarter)] += visits
        if counts:
            store.upsert_counts(session, counts)

    def orphan_visits(self, workspace: int, query: OrphanQuery) -> Orphans:
        """The visits at the workspace's hosts and links, and those that belong to nobody.

        Raises:
            Invalid: the period cannot be answered.
        """
        period = period_of(query.start, query.end, query.interval, query.timezone, self._now())
        selection = Selection(
            start=period.start,
            end=period.end,
            kind=None if query.kind is None else KINDS[query.kind],
            host=None if query.host is None else self._domains.spelling_of(query.host),
        )
        buckets = [0] * len(period.bucket_starts)
        groups: Counter[tuple[int, str]] = Counter()
        for shard in self._db.read_each(workspace):
            with shard as session:
                # Visits that arrive between the queries must not be in one part only.
                store.hold_snapshot(session)
                for bucket, visits in store.find_buckets(
                    session, workspace, selection, period.bucket_starts
                ):
                    buckets[bucket - 1] += visits
                # A host is on one shard, so the first of each are the first of all.
                for kind, host, visits in store.find_groups(
                    session, workspace, selection, MAX_GROUPS
                ):
                    groups[kind, host] += visits
        ranked = sorted(groups.items(), key=lambda group: (-group[1], group[0]))[:MAX_GROUPS]
        return Orphans(
            period,
            sum(buckets),
            list(zip(period.bucket_starts, buckets, strict=True)),
            [(_NAMES.get(kind, "other"), host, visits) for (kind, host), visits in ranked],
        )
