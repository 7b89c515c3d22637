"""A receiver of OTLP over HTTP, in this process, and the trees of what it was sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.running import wait_until


@dataclass(frozen=True)
class SpanSeen:
    """A span as it came."""

    service: str
    trace: str
    id: str
    parent: str
    name: str
    kind: str
    failed: bool
    seconds: float
    started_ns: int
    attributes: dict[str, Any]
    links: list[tuple[str, str]]


@dataclass
class Receiver:
    """What was sent to a port of this process."""

    port: int
    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a process that sends everything here, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_TRACES_SAMPLER": "parentbased_always_on",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def spans(self, trace: str | None = None) -> list[SpanSeen]:
        """What came, of one trace or of all, in the order of its beginnings."""
        found = [span for body in list(self.bodies) for span in _read(body)]
        chosen = [span for span in found if trace in (None, span.trace)]
        return sorted(chosen, key=lambda span: span.started_ns)

    def wait(self, trace: str, has: Callable[[list[SpanSeen]], Any]) -> list[SpanSeen]:
        """The spans of a trace, when they are what is waited for."""
        try:
            wait_until(lambda: has(self.spans(trace)), 20)
        except AssertionError:
            raise AssertionError(f"only this came:\n{tree(self.spans(trace))}") from None
        return self.spans(trace)


def tree(spans: list[SpanSeen]) -> str:
    """Spans as a picture: each below its parent, those of other processes with their names."""
    known = {span.id for span in spans}

    def draw(parent: str, depth: int) -> list[str]:
        lines = []
        for span in spans:
            if (span.parent if span.parent in known else "") == parent:
                lines.append(f"{'  ' * depth}{span.name} ({span.kind}, {span.service})")
                lines += draw(span.id, depth + 1)
        return lines

    return "\n".join(draw("", 0))


def _read(body: bytes) -> Iterator[SpanSeen]:
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = _attributes(of_resource.resource.attributes)["service.name"]
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield SpanSeen(
                    service=service,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    name=span.name,
                    kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
                    seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    started_ns=span.start_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver(0)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.paths.append(self.path)
            receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
            if receiver.status == 200:
                receiver.bodies.append(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(receiver.status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
