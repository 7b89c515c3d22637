"""Who is told, as a process of its own: a collector of OTLP and a Sentry, that only count.

    python -m bench.telemetry_cost.receivers PORT

The first part of a path is whose it is. `GET /` answers what came: spans and events, by that.
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_PROTOBUF, _JSON = "application/x-protobuf", "application/json"


class Counts:
    """What came so far, by who sent it."""

    def __init__(self) -> None:
        self.spans: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, path: str, body: bytes) -> str:
        """Count a message; answers the type of an answer to it."""
        sender, _, what = path.lstrip("/").partition("/")
        with self._lock:
            if what == "v1/traces":
                self.spans[sender] += _spans_in(body)
                return _PROTOBUF
            self.events[sender] += 1
            return _JSON

    def as_json(self) -> bytes:
        """All of it."""
        with self._lock:
            return json.dumps({"spans": self.spans, "events": self.events}).encode()


def _spans_in(body: bytes) -> int:
    message = ExportTraceServiceRequest.FromString(body)
    return sum(
        len(of_scope.spans)
        for of_resource in message.resource_spans
        for of_scope in of_resource.scope_spans
    )


def _handler(counts: Counts) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(_JSON, counts.as_json())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            kind = counts.add(self.path, body)
            self._answer(kind, b"{}" if kind == _JSON else b"")

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _handler(Counts())).serve_forever()
