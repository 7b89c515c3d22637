"""From segments to rows and counts, each segment once and whole.

For each shard one transaction remembers the segments, stores their clicks and adds to the counts:
it happens entirely or not at all. A segment that a shard remembers is skipped there, so a segment
may be delivered any number of times.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import exc

from api.clicks import store
from api.clicks.enriched import EnrichedClick
from api.clicks.enrichment.enricher import Enricher
from api.clicks.partitions import Partitions
from api.clicks.records import read_segment
from api.core.database.routing import Database, WriteSession

log = logging.getLogger(__name__)

# What the content of a segment can cause. Anything else is a fault around us: it will pass, and
# the segment waits.
_FAULTS_OF_CONTENT = (
    exc.DataError,
    exc.IntegrityError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
)

Totals = Mapping[tuple[int, int], tuple[int, datetime]]


class RawSegment(NamedTuple):
    """A segment as its source delivers it; `name` is what the source knows it by."""

    name: str
    body: bytes


@dataclass
class Outcome:
    """What became of some segments; the names in `rejected` will never be counted as they are."""

    segments: int = 0
    clicks: int = 0
    repeated: int = 0
    rejected: dict[str, str] = field(default_factory=dict)

    def add(self, other: Outcome) -> None:
        """Take another outcome's figures in."""
        self.segments += other.segments
        self.clicks += other.clicks
        self.repeated += other.repeated
        self.rejected |= other.rejected


class Ingest:
    """Counts segments, from whatever source they come."""

    def __init__(
        self,
        db: Database,
        enricher: Enricher,
        add_counts: Callable[[WriteSession, Sequence[EnrichedClick]], None],
        add_totals: Callable[[WriteSession, Totals], None],
        after_commit: Callable[[Sequence[EnrichedClick]], None] = lambda _clicks: None,
    ) -> None:
        """`add_counts` and `add_totals` count the clicks of one shard within the transaction that
        stores them; `after_commit` is told of those that were new, and must not fail."""
        self._db = db
        self._enricher = enricher
        self._add_counts = add_counts
        self._add_totals = add_totals
        self._after_commit = after_commit
        self._partitions = Partitions(db)

    def ingest(self, segments: Sequence[RawSegment]) -> Outcome:
        """Count the segments that were not counted yet. Those that cannot be are in the outcome's
        `rejected` with a reason, and keep no other from being counted.

        Raises:
            Unavailable: a database is away. Some segments may have been counted; deliver all again.
        """
        outcome = Outcome()
        enriched: dict[str, list[EnrichedClick]] = {}
        names: dict[str, str] = {}
        for segment in segments:
            try:
                segment_id, clicks = self._read(segment)
            except _FAULTS_OF_CONTENT as error:
                outcome.rejected[segment.name] = _reason(error)
            else:
                enriched[segment_id] = clicks
                names[segment_id] = segment.name
        self._count(enriched, names, outcome)
        return outcome

    def _read(self, segment: RawSegment) -> tuple[str, list[EnrichedClick]]:
        read = read_segment(segment.body)
        if read.torn:
            log.warning("the last line of segment %s is torn: its click was not answered", read.id)
        return read.id, self._enricher.enrich(read)

    def _count(
        self, enriched: dict[str, list[EnrichedClick]], names: dict[str, str], outcome: Outcome
    ) -> None:
        """All in one transaction a shard; where the content is at fault, one by one."""
        try:
            clicks = self._write(enriched)
        except _FAULTS_OF_CONTENT as error:
            for segment_id in enriched if len(enriched) > 1 else ():
                self._count({segment_id: enriched[segment_id]}, names, outcome)
            if len(enriched) == 1:
                (segment_id,) = enriched
                log.exception("segment %s cannot be counted", segment_id)
                outcome.rejected[names[segment_id]] = _reason(error)
        else:
            outcome.segments += len(enriched)
            outcome.clicks += clicks
            outcome.repeated += sum(map(len, enriched.values())) - clicks

    def _write(self, enriched: dict[str, list[EnrichedClick]]) -> int:
        """Write to each shard its part; how many clicks were new."""
        shards = self._by_shard(enriched)
        try:
            return sum(self._write_shard(slot, part) for slot, part in shards.items())
        except exc.IntegrityError:
            # Most likely a month that we remember was dropped since.
            self._partitions.forget()
            return sum(self._write_shard(slot, part) for slot, part in shards.items())

    def _write_shard(self, slot: int, segments: dict[str, list[EnrichedClick]]) -> int:
        self._partitions.ensure(
            slot, (click.clicked_at for clicks in segments.values() for click in clicks)
        )
        with self._db.write(slot) as session:
            new = store.insert_segments(session, segments)
            clicks = [click for name in sorted(new) for click in segments[name]]
            if clicks:
                store.copy_clicks(session, clicks)
                self._add_counts(session, clicks)
                self._add_totals(session, _totals(clicks))
        if clicks:
            self._after_commit(clicks)
        return len(clicks)

    def _by_shard(
        self, enriched: dict[str, list[EnrichedClick]]
    ) -> dict[int, dict[str, list[EnrichedClick]]]:
        """The clicks by shard and segment; a shard is named by a slot of it."""
        representatives: dict[int, int] = {}
        shards: dict[int, dict[str, list[EnrichedClick]]] = {}
        for segment_id, clicks in enriched.items():
            for click in clicks:
                shard = representatives.get(click.slot)
                if shard is None:
                    shard = self._representative(click.slot, shards)
                    representatives[click.slot] = shard
                shards.setdefault(shard, {}).setdefault(segment_id, []).append(click)
        return shards

    def _representative(self, slot: int, known: Mapping[int, object]) -> int:
        for other in known:
            if self._db.same_shard(slot, other):
                return other
        return slot


def _totals(clicks: Sequence[EnrichedClick]) -> Totals:
    totals: dict[tuple[int, int], tuple[int, datetime]] = {}
    for click in clicks:
        key = (click.slot, click.link_id)
        held = totals.get(key)
        if held is None:
            totals[key] = (1, click.clicked_at)
        else:
            totals[key] = (held[0] + 1, max(held[1], click.clicked_at))
    return totals


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
