"""One batch of many traces: it belongs to one of them, and the others find it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from api.clicks.enrichment.enricher import Enricher
from api.clicks.ingest import Counting, RawSegment
from api.clicks.traced_ingest import TracedIngest
from api.clicks.traces import with_room, written
from api.core.database.routing import Database
from api.core.errors import Unavailable
from api.core.tracing.context import TraceContext
from api.core.tracing.sampling import Sampler
from api.core.tracing.spans import CONSUMER, Span, running
from api.core.tracing.tracer import TRACER
from config.settings import Settings
from tests.factories.clicks import a_click, a_link_id, a_segment
from tests.tracing.test_spans import Kept


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """What this process's tracer exports."""
    kept = Kept(0.0)
    monkeypatch.setattr(TRACER, "sampler", Sampler(0.0, follows_parent=True))
    monkeypatch.setattr(TRACER, "_exporter", kept)
    yield kept
    assert running() is None


@pytest.fixture
def ingest(db: Database) -> TracedIngest:
    return TracedIngest(db, Enricher(b"x"), Counting())


def a_context(*, sampled: bool = True) -> TraceContext:
    return TraceContext(secrets.randbits(127) + 1, secrets.randbits(63) + 1, sampled)


def published(context: TraceContext) -> RawSegment:
    return a_segment([a_click(a_link_id())])._replace(traceparent=context.to_traceparent())


def noting(*contexts: TraceContext) -> RawSegment:
    """A segment as a spool writes it."""
    segment = a_segment([a_click(a_link_id())])
    header, rest = segment.body.split(b"\n", 1)
    room, place = with_room(header + b"\n")
    note = written(contexts)
    return segment._replace(body=room[:place] + note + room[place + len(note) :] + rest)


def consumed(spans: Sequence[Span]) -> dict[int, Span]:
    return {span.trace.id: span for span in spans if span.kind == CONSUMER}


def test_batch_belongs_to_its_first_trace_and_is_linked_with_the_others(
    ingest: TracedIngest, kept: Kept
) -> None:
    contexts = [a_context() for _ in range(3)]
    untraced = a_segment([a_click(a_link_id())])
    outcome = ingest.ingest([untraced, *map(published, contexts)])
    assert (outcome.segments, outcome.clicks) == (4, 4)
    found = consumed(kept.spans)
    assert list(found) != []
    main, second, third = (found[context.trace_id] for context in contexts)
    assert [span.parent_id for span in (main, second, third)] == [one.span_id for one in contexts]
    assert list(main.links) == contexts[1:]
    assert list(second.links) == list(third.links) == [main.context]
    assert main.attributes["signpost.clicks"] == 4
    halves = {span.name for span in kept.spans if span.parent_id == main.id}
    assert halves == {"ingest prepare", "ingest write"}


def test_segment_of_the_spool_links_to_all_of_its_requests(
    ingest: TracedIngest, kept: Kept
) -> None:
    first, second, third = (a_context() for _ in range(3))
    ingest.ingest([noting(first, second), noting(third)])
    found = consumed(kept.spans)
    assert set(found) == {first.trace_id, third.trace_id}
    assert found[first.trace_id].parent_id == first.span_id
    assert set(found[first.trace_id].links) == {second, third}


@pytest.mark.parametrize("contexts", [[], [a_context(sampled=False)]])
def test_batch_that_nobody_samples_is_exported_only_where_it_fails(
    ingest: TracedIngest, kept: Kept, contexts: list[TraceContext]
) -> None:
    ingest.ingest([*map(published, contexts), a_segment([a_click(a_link_id())])])
    assert kept.spans == []
    broken = RawSegment("broken", b"no segment", *(one.to_traceparent() for one in contexts))
    outcome = ingest.ingest([broken])
    assert set(outcome.rejected) == {"broken"}
    (failed,) = consumed(kept.spans).values()
    assert failed.error == "SegmentRejected"


def test_segment_that_is_rejected_fails_its_own_trace_and_the_batch(
    ingest: TracedIngest, kept: Kept
) -> None:
    first, good, bad = (a_context() for _ in range(3))
    broken = RawSegment("broken", b"no segment", bad.to_traceparent())
    outcome = ingest.ingest([published(first), published(good), broken])
    assert set(outcome.rejected) == {"broken"}
    errors = {number: span.error for number, span in consumed(kept.spans).items()}
    assert errors == {
        first.trace_id: "SegmentRejected",
        good.trace_id: None,
        bad.trace_id: "SegmentRejected",
    }


def test_batch_that_finds_no_database_is_exported_with_what_failed(
    settings: Settings, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = replace(settings, database_url="postgresql+psycopg2://nobody@127.0.0.1:9/nothing")
    ingest = TracedIngest(Database(away), Enricher(b"x"), Counting())
    with pytest.raises(Unavailable):
        ingest.ingest([a_segment([a_click(a_link_id())])])
    names: dict[str, Any] = {span.name: span.error for span in kept.spans}
    assert names == {"process clicks": "Unavailable", "ingest prepare": "Unavailable"}
