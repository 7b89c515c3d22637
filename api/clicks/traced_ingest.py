"""The ingest where clicks are traced: each segment's trace goes on to what its batch writes.

A batch is one piece of work for segments of many traces. It belongs to the trace of the first of
them; those of the others end with a span that links to it, and it links back to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.clicks.ingest import Batch, Ingest, Outcome, RawSegment
from api.clicks.traces import read_traces
from api.core.tracing.context import TraceContext, read_traceparent
from api.core.tracing.spans import CONSUMER, INTERNAL, MOST_LINKS, Span, resumed, within
from api.core.tracing.tracer import TRACER


class _Work:
    """The spans of one batch, which begin in one thread and end in another."""

    def __init__(self, segments: Sequence[RawSegment]) -> None:
        origins = {segment.name: origins_of(segment) for segment in segments}
        parents = {name: found[0] for name, found in origins.items() if found}
        # What is published brings one context; a segment of this host's spool may bring several.
        others = [context for found in origins.values() for context in found[1:]]
        first, rest = next(iter(parents.values()), None), list(parents.items())[1:]
        by_queue = any(segment.traceparent for segment in segments)
        attributes = {
            "messaging.system": "rabbitmq" if by_queue else "spool",
            "messaging.batch.message_count": len(segments),
        }
        self.main = _begin(attributes, first, [parent for _, parent in rest] + others)
        self._beside = {
            name: _begin({}, parent, [self.main.context]) for name, parent in rest[:MOST_LINKS]
        }

    def end(self, outcome: Outcome | None, error: BaseException | None = None) -> None:
        """The batch is written, or cannot be."""
        rejected = outcome.rejected if outcome is not None else {}
        failed = [self._beside[name] for name in rejected if name in self._beside]
        if outcome is not None:
            self.main.attributes["signpost.clicks"] = outcome.clicks
        for span in (*self._beside.values(), self.main):
            if span in failed or (rejected and span is self.main):
                span.fail("SegmentRejected")
            if error is not None:
                span.fail(error)
            TRACER.end(span)


@dataclass(frozen=True, slots=True)
class TracedBatch(Batch):
    """A batch with its spans."""

    work: _Work


class TracedIngest(Ingest):
    """Counts segments, within their traces."""

    def prepare(self, segments: Sequence[RawSegment]) -> TracedBatch:
        """Read segments; see `Ingest`."""
        work = _Work(segments)
        try:
            with resumed(work.main), within("ingest prepare", INTERNAL, {}):
                batch = super().prepare(segments)
        except BaseException as error:
            work.end(None, error)
            raise
        return TracedBatch(batch.segments, batch.names, batch.rejected, batch.shards, work)

    def write(self, batch: Batch) -> Outcome:
        """Count them; see `Ingest`."""
        if not isinstance(batch, TracedBatch):
            return super().write(batch)
        try:
            with resumed(batch.work.main), within("ingest write", INTERNAL, {}):
                outcome = super().write(batch)
        except BaseException as error:
            batch.work.end(None, error)
            raise
        batch.work.end(outcome)
        return outcome


def origins_of(segment: RawSegment) -> list[TraceContext]:
    """What a segment continues: the span that published it, else its requests'."""
    published = read_traceparent(segment.traceparent)
    return [published] if published else read_traces(segment.body)


def _begin(
    attributes: dict[str, Any], parent: TraceContext | None, links: Sequence[TraceContext]
) -> Span:
    attributes |= {"messaging.operation.name": "ingest", "messaging.operation.type": "process"}
    return TRACER.begin("process clicks", CONSUMER, attributes, parent, links)
