"""What is recorded of a trace, and what is thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest

from api.core.tracing.sampling import Sampler
from api.core.tracing.spans import (
    CLIENT,
    INTERNAL,
    MOST_LINKS,
    MOST_SPANS,
    SERVER,
    Span,
    begin,
    outgoing,
    resumed,
    running,
    sampled_context,
    within,
)
from api.core.tracing.tracer import MOST_FAILED, Tracer


class Kept(Tracer):
    """Keeps what it would export."""

    def __init__(self, ratio: float) -> None:
        super().__init__()
        self.sampler = Sampler(ratio, follows_parent=True)
        self.spans: list[Span] = []
        self._exporter = cast(Any, self)

    def put(self, spans: Sequence[Span]) -> None:
        self.spans += spans


def leaf(name: str) -> None:
    span = begin(name, CLIENT, {})
    assert span is not None
    span.end()


def test_nothing_is_recorded_outside_of_a_trace() -> None:
    assert begin("SELECT", CLIENT, {}) is None
    with within("work", INTERNAL, {}) as span:
        assert span is None
    assert (running(), sampled_context(), outgoing()) == (None, None, {})


def test_unsampled_trace_is_thrown_away_unless_it_fails() -> None:
    tracer = Kept(0.0)
    with tracer.trace("good", SERVER, {}):
        leaf("SELECT")
        assert sampled_context() is None
    assert tracer.spans == []
    with pytest.raises(ZeroDivisionError), tracer.trace("bad", SERVER, {}):
        leaf("SELECT")
        1 / 0  # noqa: B018
    assert [(span.name, span.error) for span in tracer.spans] == [
        ("bad", "ZeroDivisionError"),
        ("SELECT", None),
    ]


def test_spans_are_within_one_another() -> None:
    tracer = Kept(1.0)
    with tracer.trace("request", SERVER, {}) as root:
        with within("work", INTERNAL, {}) as work:
            leaf("inner")
        leaf("outer")
    assert work is not None
    parents = {span.name: span.parent_id for span in tracer.spans}
    assert parents == {"request": 0, "work": root.id, "inner": work.id, "outer": root.id}
    assert running() is None


def test_what_ends_after_its_trace_is_exported_by_itself() -> None:
    tracer = Kept(1.0)
    with tracer.trace("request", SERVER, {}):
        late = begin("slow", CLIENT, {})
    assert late is not None
    assert [span.name for span in tracer.spans] == ["request"]
    late.end()
    assert [span.name for span in tracer.spans] == ["request", "slow"]


def test_thread_that_a_request_began_does_not_go_on_in_its_trace() -> None:
    tracer = Kept(1.0)
    with tracer.trace("request", SERVER, {}):
        inherited = copy_context()
    assert inherited.run(begin, "SELECT", CLIENT, {}) is None
    assert inherited.run(outgoing) == {}
    assert [span.name for span in tracer.spans] == ["request"]


def test_greenlets_have_traces_of_their_own() -> None:
    tracer = Kept(1.0)

    def request(name: str) -> None:
        with tracer.trace(name, SERVER, {}):
            gevent.sleep(0.001)
            leaf(f"within {name}")

    gevent.joinall([gevent.spawn(request, str(number)) for number in range(20)], raise_error=True)
    roots = {span.id: span.name for span in tracer.spans if span.kind == SERVER}
    leaves = [span for span in tracer.spans if span.kind == CLIENT]
    assert len(roots) == len(leaves) == 20
    assert all(span.name == f"within {roots[span.parent_id]}" for span in leaves)


def test_trace_has_a_bound_and_tells_what_is_beyond_it() -> None:
    tracer = Kept(1.0)
    with tracer.trace("import", SERVER, {}):
        for _ in range(MOST_SPANS + 10):
            if span := begin("INSERT", CLIENT, {}):
                span.end()
    assert len(tracer.spans) == MOST_SPANS
    assert tracer.spans[0].attributes == {"signpost.spans_left_out": 11}


def test_links_have_a_bound() -> None:
    tracer = Kept(1.0)
    with tracer.trace("first", SERVER, {}) as first:
        pass
    with tracer.trace("batch", SERVER, {}, links=[first.context] * 100) as batch:
        pass
    assert len(batch.links) == MOST_LINKS


def test_span_goes_on_in_another_thread() -> None:
    tracer = Kept(1.0)
    span = tracer.begin("batch", SERVER, {})
    assert running() is None
    with resumed(span):
        leaf("COPY")
    assert running() is None
    tracer.end(span)
    assert [one.name for one in tracer.spans] == ["batch", "COPY"]


def test_outage_is_told_of_by_some_of_its_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    tracer, clock = Kept(0.0), iter([7.0] * 250 + [8.5] * 10)
    stopped = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr("api.core.tracing.bounds.time", stopped)
    for _ in range(260):
        span = tracer.begin("request", SERVER, {})
        span.fail("503")
        tracer.end(span)
    assert len(tracer.spans) == MOST_FAILED + 10
    sampled = Kept(1.0)
    for _ in range(150):  # asks no clock
        span = sampled.begin("request", SERVER, {})
        span.fail("503")
        sampled.end(span)
    assert len(sampled.spans) == 150
