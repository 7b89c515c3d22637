"""Sends spans over OTLP/HTTP, by OpenTelemetry's own batches and exporter.

The only file that imports its packages. Spans are turned into OpenTelemetry's in the thread that
sends them: a request pays for no more than to put them in a queue. What does not fit there, and
what nobody takes, is dropped.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util.re import parse_env_headers

import api
from api.core.tracing.context import TraceContext
from api.core.tracing.spans import Span
from config.settings import Settings

log = logging.getLogger(__name__)

_PATH = "/v1/traces"  # OTLP 1, "OTLP/HTTP request"
_TIMEOUT_SECONDS = 5.0
# To encode a span takes 30 µs, during which the event loop stands still: so many at once, while
# others wait, up to the bound.
_BATCH_SPANS = 64
_QUEUE_SPANS = 8_192
_KEPT = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("signpost", api.__version__)
_LONGEST_REASON = 300
# For one more try at the end, of what failed before.
_IN_TROUBLE_SECONDS = 1.0

Number = TypeVar("Number", int, float)


class _Ended:
    """A span on its way: as much of OpenTelemetry's as the batches look at."""

    __slots__ = ("span",)
    context = SpanContext(1, 1, is_remote=False, trace_flags=_KEPT)

    def __init__(self, span: Span) -> None:
        self.span = span


class Exporter:
    """Exports the spans of one process, in a thread of its own."""

    def __init__(self, settings: Settings, service: str) -> None:
        endpoint = settings.otel_exporter_otlp_endpoint or ""
        self._sender = _Sender(endpoint, settings.otel_exporter_otlp_headers or "", service)
        self._batches = BatchSpanProcessor(
            self._sender,
            # OpenTelemetry's own variables, where they are set.
            max_queue_size=_unless_set("OTEL_BSP_MAX_QUEUE_SIZE", _QUEUE_SPANS),
            max_export_batch_size=_unless_set("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _BATCH_SPANS),
        )

    def put(self, spans: Sequence[Span]) -> None:
        """Export these soon. Returns at once and raises nothing."""
        for span in spans:
            self._batches.on_end(cast(ReadableSpan, _Ended(span)))

    def stop(self, seconds: float) -> None:
        """Send what waits, within so many seconds; nobody who is away is waited for."""
        over = threading.Event()
        in_trouble = self._sender.tell_of_trouble(over.set)

        def send() -> None:
            self._batches.shutdown()  # type: ignore[no-untyped-call]
            over.set()

        threading.Thread(target=send, name="last spans", daemon=True).start()
        over.wait(min(seconds, _IN_TROUBLE_SECONDS) if in_trouble else seconds)


class _Sender(OTLPSpanExporter):
    """OpenTelemetry's exporter, which says once that nobody takes what it sends."""

    def __init__(self, endpoint: str, headers: str, service: str) -> None:
        self._reasons = _Reasons()
        self._up = True
        self._resource = Resource.create(
            {
                "service.name": service,
                "service.version": api.__version__,
                "host.name": socket.gethostname(),
                "process.pid": os.getpid(),
            }
        )
        super().__init__(
            endpoint=endpoint.rstrip("/") + _PATH,
            headers=parse_env_headers(headers, liberal=True),
            timeout=_unless_set("OTEL_EXPORTER_OTLP_TIMEOUT", _TIMEOUT_SECONDS),
        )

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send some spans."""
        ended = cast(Sequence[_Ended], spans)
        outcome = super().export([self._read(one.span) for one in ended])
        self._note(up=outcome is SpanExportResult.SUCCESS)
        return outcome

    def tell_of_trouble(self, tell: Callable[[], None]) -> bool:
        """Call `tell` when something fails from now on; whether the last try has failed."""
        self._reasons.tell = tell
        return bool(self._reasons.last)

    def _note(self, *, up: bool) -> None:
        reason = self._reasons.last
        if up:
            self._reasons.last = ""
        if up == self._up:
            return
        self._up = up
        if up:
            log.warning("traces are exported again")
        else:
            log.warning(
                "traces are dropped, as OTEL_EXPORTER_OTLP_ENDPOINT does not take them: %s",
                reason[:_LONGEST_REASON],
            )

    def _read(self, span: Span) -> ReadableSpan:
        trace_id = span.trace.id
        parent = SpanContext(trace_id, span.parent_id, span.remote, _KEPT)
        error = span.error
        if error is not None:
            span.attributes.setdefault("error.type", error)
        return ReadableSpan(
            span.name,
            SpanContext(trace_id, span.id, is_remote=False, trace_flags=_KEPT),
            parent if span.parent_id else None,
            self._resource,
            span.attributes,
            links=[Link(_context(link)) for link in span.links],
            kind=SpanKind[span.kind],
            status=Status(StatusCode.UNSET if error is None else StatusCode.ERROR),
            start_time=span.started_ns,
            end_time=span.ended_ns,
            instrumentation_scope=_SCOPE,
        )


class _Reasons(logging.Handler):
    """Remembers the last of what OpenTelemetry says of each failure, and lets nobody else hear."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""
        self.tell: Callable[[], None] = lambda: None
        for name, handler in (("", logging.NullHandler()), (".exporter", self)):
            theirs = logging.getLogger(f"opentelemetry{name}")
            theirs.propagate = False
            theirs.handlers = [handler]

    def emit(self, record: logging.LogRecord) -> None:
        """Remember it."""
        self.last = record.getMessage()
        self.tell()


def _context(context: TraceContext) -> SpanContext:
    return SpanContext(context.trace_id, context.span_id, is_remote=True, trace_flags=_KEPT)


def _unless_set(variable: str, value: Number) -> Number | None:
    """None, for which OpenTelemetry reads its variable, where that is set."""
    return None if os.environ.get(variable) else value
