"""Spans, as cheap as they can be: objects that are thrown away unless their trace is kept.

Whether a request fails is known at its end. So the spans of each one are gathered, those of an
unsampled one too: to begin and end one costs about a microsecond, and only what is kept is ever
given to OpenTelemetry. The running span is in a context variable, which gevent keeps apart for
each greenlet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from random import getrandbits  # seeded anew in each process that is forked
from typing import Any

from api.core.tracing.context import TraceContext

SERVER, CLIENT, PRODUCER, CONSUMER, INTERNAL = (
    "SERVER",
    "CLIENT",
    "PRODUCER",
    "CONSUMER",
    "INTERNAL",
)
# Of one process in one trace; an import of a million rows must not fill the memory.
MOST_SPANS = 500
MOST_LINKS = 32


class Trace:
    """What this process does in one trace, from its first span here to the end of that."""

    __slots__ = ("export", "failed", "id", "left_out", "over", "sampled", "spans")

    def __init__(
        self, trace_id: int, sampled: bool, export: Callable[[Sequence[Span]], None]
    ) -> None:
        self.id = trace_id
        self.sampled = sampled
        self.failed = self.over = False
        self.left_out = 0
        self.spans: list[Span] = []
        self.export = export

    def finish(self) -> None:
        """The first span has ended: export what is kept, and record nothing more."""
        self.over = True
        if self.sampled or self.failed:
            if self.left_out:
                self.spans[0].attributes["signpost.spans_left_out"] = self.left_out
            self.export([span for span in self.spans if span.ended_ns])
        self.spans = []


class Span:
    """Something that was done, and how long it took."""

    __slots__ = (
        "attributes",
        "ended_ns",
        "error",
        "id",
        "kind",
        "links",
        "name",
        "parent_id",
        "remote",
        "started_ns",
        "trace",
    )

    def __init__(
        self,
        trace: Trace,
        parent_id: int,
        name: str,
        kind: str,
        attributes: dict[str, Any],
        links: Sequence[TraceContext] = (),
        remote: bool = False,
    ) -> None:
        """`remote` says that its parent is of another process."""
        self.trace = trace
        self.id = getrandbits(64) or 1  # nosec B311
        self.parent_id = parent_id
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self.links = links
        self.remote = remote
        self.error: str | None = None
        self.ended_ns = 0
        self.started_ns = time.time_ns()
        trace.spans.append(self)

    @property
    def context(self) -> TraceContext:
        """What continues the trace from here."""
        return TraceContext(self.trace.id, self.id, self.trace.sampled)

    def fail(self, error: BaseException | str) -> None:
        """Note what went wrong: of an error its type, as its message may hold anything."""
        self.error = error if isinstance(error, str) else type(error).__qualname__

    def end(self) -> None:
        """It is over. One that outlives its trace is exported by itself."""
        self.ended_ns = time.time_ns()
        trace = self.trace
        if trace.over and (trace.sampled or trace.failed):
            trace.export([self])


_running: ContextVar[Span | None] = ContextVar("running span", default=None)
running = _running.get
set_running = _running.set


def begin(name: str, kind: str, attributes: dict[str, Any]) -> Span | None:
    """Begin a span within the running one; None where none runs, or too many were begun."""
    parent = _running.get()
    if parent is None:
        return None
    trace = parent.trace
    if trace.over:  # this greenlet was started by a request that was answered meanwhile
        return None
    if len(trace.spans) >= MOST_SPANS:
        trace.left_out += 1
        return None
    return Span(trace, parent.id, name, kind, attributes)


@contextmanager
def within(name: str, kind: str, attributes: Mapping[str, Any]) -> Iterator[Span | None]:
    """The same around what is done here, which is within it in turn."""
    before = _running.get()
    span = begin(name, kind, dict(attributes))
    if span is None:
        yield None
        return
    _running.set(span)
    try:
        yield span
    except BaseException as error:
        span.fail(error)
        raise
    finally:
        span.end()
        _running.set(before)


@contextmanager
def resumed(span: Span) -> Iterator[None]:
    """Go on, in this thread, within a span that was begun in another."""
    before = _running.get()
    _running.set(span)
    try:
        yield
    finally:
        _running.set(before)


def sampled_context() -> TraceContext | None:
    """The running span, if its trace is sampled: what is worth being continued elsewhere."""
    span = _running.get()
    if span is None or span.trace.over or not span.trace.sampled:
        return None
    return span.context


def outgoing() -> dict[str, str]:
    """The header of a request that is sent to others now; none where nothing is traced."""
    span = _running.get()
    if span is None or span.trace.over:
        return {}
    return {"traceparent": span.context.to_traceparent()}


def running_trace_id() -> str | None:
    """The id of the running trace, as logs write it."""
    span = _running.get()
    return None if span is None or span.trace.over else f"{span.trace.id:032x}"
