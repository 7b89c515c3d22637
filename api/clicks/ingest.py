"""From segments to rows and counts, each segment once and whole.

For each shard one transaction remembers the segments, stores their clicks and adds to the counts:
it happens entirely or not at all. A segment that a shard remembers is skipped there, so a segment
may be delivered any number of times.

The work has two halves, so that they can go on at the same time: `prepare` computes all that will
be written, `write` waits for the database to take it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import exc

from api.clicks import deletions, store
from api.clicks.enriched import EnrichedClick
from api.clicks.enrichment.enricher import Enricher
from api.clicks.partitions import Partitions
from api.clicks.records import OrphanRecord, read_segment
from api.core.database.routing import LATEST, Database, ReadSession, WriteSession
from api.core.database.sessions import SlotRange
from api.core.database.slot_map import Slots
from api.core.ids import slot_of_host

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

_DAY_MS = 86_400_000
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Totals = Mapping[tuple[int, int], tuple[int, datetime]]


class RawSegment(NamedTuple):
    """A segment as its source delivers it; `name` is what the source knows it by."""

    name: str
    body: bytes
    traceparent: str | None = None  # the span that published it, where that was traced


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


class Part(list[EnrichedClick]):
    """The clicks of a segment, or of it those of one shard, with the visits without a link."""

    def __init__(
        self, clicks: Sequence[EnrichedClick] = (), orphans: Sequence[OrphanRecord] = ()
    ) -> None:
        super().__init__(clicks)
        self.orphans = list(orphans)

    def without(self, slots: Sequence[SlotRange]) -> Part:
        """What is not of these slots."""
        if not slots:
            return self

        def is_left(slot: int) -> bool:
            return not any(first <= slot <= last for first, last in slots)

        return Part(
            [click for click in self if is_left(click.slot)],
            [orphan for orphan in self.orphans if is_left(slot_of_host(orphan.host))],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """What other modules do with the clicks of one shard; by default nothing."""

    # Where links are counted, by their ids; computed outside of the transaction.
    find_places: Callable[[ReadSession, Collection[int]], Mapping[int, Any]] = lambda *_: {}
    fold: Callable[[Sequence[EnrichedClick], Mapping[int, Any]], Sequence[Any]] = lambda *_: ()
    # Within the transaction that stores the clicks.
    add_counts: Callable[[WriteSession, Sequence[Any]], None] = lambda *_: None
    add_totals: Callable[[WriteSession, Totals], None] = lambda *_: None
    add_orphans: Callable[[WriteSession, Sequence[OrphanRecord]], None] = lambda *_: None
    # Told of the clicks that were new; it must not fail.
    after_commit: Callable[[Sequence[EnrichedClick]], None] = lambda _: None


class Folded(NamedTuple):
    """Some clicks of one shard, ready to be written."""

    clicks: Sequence[EnrichedClick]
    rows: str
    counts: Sequence[Any]
    totals: Totals


@dataclass(frozen=True, slots=True)
class ShardBatch:
    """What a batch brings to one shard, which is named by a slot of it; `covers` are all of the
    shard's slots."""

    slot: int
    covers: Sequence[SlotRange]
    segments: dict[str, Part]
    folded: Folded


@dataclass(frozen=True, slots=True)
class Batch:
    """Segments that were read: their clicks, and what their sources call them."""

    segments: dict[str, Part]
    names: dict[str, str]
    rejected: dict[str, str]
    shards: list[ShardBatch] | None


class Ingest:
    """Counts segments, from whatever source they come."""

    def __init__(self, db: Database, enricher: Enricher, counting: Counting) -> None:
        self._db = db
        self._enricher = enricher
        self._counting = counting
        self._partitions = Partitions(db)
        self._places = LinkPlaces(db, counting.find_places)

    def ingest(self, segments: Sequence[RawSegment]) -> Outcome:
        """`prepare` and `write`."""
        return self.write(self.prepare(segments))

    def prepare(self, segments: Sequence[RawSegment]) -> Batch:
        """Read segments and compute what they add.

        Raises:
            Unavailable: a database is away.
        """
        read: dict[str, Part] = {}
        names: dict[str, str] = {}
        rejected: dict[str, str] = {}
        for segment in segments:
            try:
                segment_id, clicks = self._read(segment)
            except _FAULTS_OF_CONTENT as error:
                rejected[segment.name] = _reason(error)
            else:
                read[segment_id] = clicks
                names[segment_id] = segment.name
        try:
            shards = self._shards(read)
        except _FAULTS_OF_CONTENT:
            shards = None  # found again, and set aside, as they are written one by one
        return Batch(read, names, rejected, shards)

    def write(self, batch: Batch) -> Outcome:
        """Count the segments that were not counted yet. Those that cannot be are in the outcome's
        `rejected` with a reason, and keep no other from being counted.

        Raises:
            Unavailable: a database is away. Some segments may have been counted; deliver all again.
        """
        outcome = Outcome(rejected=dict(batch.rejected))
        self._count(batch, outcome)
        return outcome

    def _read(self, segment: RawSegment) -> tuple[str, Part]:
        read = read_segment(segment.body)
        if read.torn:
            log.warning("the last line of segment %s is torn: its click was not answered", read.id)
        return read.id, Part(self._enricher.enrich(read), read.orphans)

    def _shards(self, segments: dict[str, Part]) -> list[ShardBatch]:
        slots = self._db.slots()
        return [
            ShardBatch(slot, slots.owned_by(slots.owners[slot]), part, self._fold(slot, part))
            for slot, part in self._by_shard(slots, segments).items()
        ]

    def _fold(self, slot: int, segments: Mapping[str, Part]) -> Folded:
        return self._fold_clicks(
            slot, [click for name in sorted(segments) for click in segments[name]]
        )

    def _fold_clicks(self, slot: int, clicks: Sequence[EnrichedClick]) -> Folded:
        places = self._places.find(slot, {click.link_id for click in clicks})
        counts = self._counting.fold(clicks, places)
        return Folded(clicks, store.copy_rows(clicks), counts, _totals(clicks))

    def _count(self, batch: Batch, outcome: Outcome) -> None:
        """All in one transaction a shard; where the content is at fault, one by one."""
        try:
            shards = self._shards(batch.segments) if batch.shards is None else batch.shards
            clicks = self._write(shards)
        except _FAULTS_OF_CONTENT as error:
            if len(batch.segments) > 1:
                for name, part in batch.segments.items():
                    self._count(Batch({name: part}, batch.names, {}, None), outcome)
                return
            (segment_id,) = batch.segments
            log.exception("segment %s cannot be counted", segment_id)
            outcome.rejected[batch.names[segment_id]] = _reason(error)
        else:
            outcome.segments += len(batch.segments)
            outcome.clicks += clicks
            outcome.repeated += sum(map(len, batch.segments.values())) - clicks

    def _write(self, shards: Sequence[ShardBatch]) -> int:
        """Write to each shard its part; how many clicks were new."""
        try:
            return sum(map(self._write_shard, shards))
        except exc.IntegrityError:
            # Most likely a month that we remember was dropped since.
            self._partitions.forget()
            return sum(map(self._write_shard, shards))

    def _write_shard(self, shard: ShardBatch) -> int:
        days = {click.at_ms // _DAY_MS for click in shard.folded.clicks}
        self._partitions.ensure(shard.slot, (_EPOCH + timedelta(days=day) for day in days))
        with self._db.write(shard.slot) as session:
            counted = store.insert_segments(session, shard.segments, shard.covers)
            parts = {name: shard.segments[name].without(slots) for name, slots in counted.items()}
            folded = shard.folded
            if len(parts) < len(shard.segments) or any(counted.values()):
                folded = self._fold(shard.slot, parts)
            clicks = len(folded.clicks)
            folded = self._without_erased(session, shard.slot, folded)
            if folded.clicks:
                store.copy_clicks(session, folded.rows)
                self._counting.add_counts(session, folded.counts)
                # Last: these rows are shared, and locked from here to the end.
                self._counting.add_totals(session, folded.totals)
            orphans = [orphan for part in parts.values() for orphan in part.orphans]
            if orphans:
                gone = self._erased_workspaces(session, {it.workspace_id for it in orphans})
                orphans = [orphan for orphan in orphans if orphan.workspace_id not in gone]
                self._counting.add_orphans(session, orphans)
        if folded.clicks:
            self._counting.after_commit(folded.clicks)
        return clicks

    def _without_erased(self, session: WriteSession, slot: int, folded: Folded) -> Folded:
        """What is left when clicks that their links' owners have erased meanwhile are left out."""
        links = {click.link_id for click in folded.clicks}
        erased = deletions.find_erasures(session, links) if links else {}
        gone = self._erased_workspaces(session, {click.workspace_id for click in folded.clicks})
        if not erased and not gone:
            return folded
        untils = {link: (until - _EPOCH) // _MILLISECOND for link, until in erased.items()}
        left = [
            click
            for click in folded.clicks
            if click.at_ms > untils.get(click.link_id, -1) and click.workspace_id not in gone
        ]
        log.info("%d clicks were erased before they came", len(folded.clicks) - len(left))
        return self._fold_clicks(slot, left)

    @staticmethod
    def _erased_workspaces(session: WriteSession, workspaces: Collection[int]) -> set[int]:
        return deletions.find_erased_workspaces(session, workspaces) if workspaces else set()

    @staticmethod
    def _by_shard(slots: Slots, segments: dict[str, Part]) -> dict[int, dict[str, Part]]:
        """The clicks by shard and segment; a shard is named by a slot of it, a closed one where
        there is one, so that whoever writes waits for it."""
        found = {click.slot for clicks in segments.values() for click in clicks}
        for part in segments.values():
            found |= {slot_of_host(orphan.host) for orphan in part.orphans}
        named = {slots.owners[slot]: slot for slot in sorted(found, key=slots.closed.__contains__)}
        representatives = {slot: named[slots.owners[slot]] for slot in found}
        if len(named) <= 1:
            return dict.fromkeys(named.values(), segments)
        shards: dict[int, dict[str, Part]] = {}
        for segment_id, clicks in segments.items():
            for click in clicks:
                shard = representatives[click.slot]
                shards.setdefault(shard, {}).setdefault(segment_id, Part()).append(click)
            for orphan in clicks.orphans:
                shard = representatives[slot_of_host(orphan.host)]
                shards.setdefault(shard, {}).setdefault(segment_id, Part()).orphans.append(orphan)
        return shards


class LinkPlaces:
    """Where links are counted, remembered for a moment."""

    _SECONDS = 10.0
    _MOST = 200_000

    def __init__(
        self,
        db: Database,
        find: Callable[[ReadSession, Collection[int]], Mapping[int, Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._find = find
        self._clock = clock
        self._known: dict[int, Any] = {}
        self._since = clock()

    def find(self, slot: int, link_ids: Collection[int]) -> Mapping[int, Any]:
        """The places of links of the shard of `slot`; None for those that are none."""
        if self._clock() - self._since > self._SECONDS or len(self._known) > self._MOST:
            self._known = {}
            self._since = self._clock()
        known = self._known  # which another thread may begin anew
        unknown = [link_id for link_id in link_ids if link_id not in known]
        if unknown:
            with self._db.read(slot, since=LATEST) as session:
                found = self._find(session, unknown)
            known.update({link_id: found.get(link_id) for link_id in unknown})
        return known


def _totals(clicks: Sequence[EnrichedClick]) -> Totals:
    ordered = sorted(clicks, key=attrgetter("at_ms"))
    # Of a key that comes again the last one stays.
    last_ms = {(click.slot, click.link_id): click.at_ms for click in ordered}
    numbers = Counter((click.slot, click.link_id) for click in clicks)
    return {
        key: (number, _EPOCH + timedelta(milliseconds=last_ms[key]))
        for key, number in numbers.items()
    }


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
