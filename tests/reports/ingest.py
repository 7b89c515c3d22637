"""What stands in for a Sentry: takes envelopes as its SDK sends them, and reads the events."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789abcdef0123456789abcdef"  # pragma: allowlist secret


class Ingest:
    """Answers after `delay_seconds`; keeps what came, unpacked."""

    def __init__(self) -> None:
        self.delay_seconds = 0.0
        self.bodies: list[bytes] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    @property
    def dsn(self) -> str:
        """What a process is told in SENTRY_DSN."""
        return f"http://{KEY}@127.0.0.1:{self._server.server_port}/42"

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event, in the order in which they came."""
        return [event for body in list(self.bodies) for event in events_of(body)]

    def clear(self) -> None:
        """Forget what came."""
        self.bodies.clear()

    def wait(self, count: int = 1, seconds: float = 10) -> list[dict[str, Any]]:
        """So many events."""
        deadline = time.monotonic() + seconds
        while len(self.events) < count:
            assert time.monotonic() < deadline, f"{len(self.events)} of {count} events"
            time.sleep(0.02)
        return self.events

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        ingest = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                if self.path != "/api/42/envelope/" or KEY not in self.headers["X-Sentry-Auth"]:
                    self.send_error(403)
                    return
                time.sleep(ingest.delay_seconds)
                ingest.bodies.append(body)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler


@contextmanager
def ingesting() -> Iterator[Ingest]:
    """One that runs for a while."""
    ingest = Ingest()
    try:
        yield ingest
    finally:
        ingest.close()


def events_of(envelope: bytes) -> Iterator[dict[str, Any]]:
    """The events of an envelope: a line of headers, then items, each behind a line of its own."""
    _, _, rest = envelope.partition(b"\n")
    while rest:
        line, _, rest = rest.partition(b"\n")
        if not line:
            continue
        header = json.loads(line)
        size = header.get("length", rest.find(b"\n") % (len(rest) + 1))
        payload, rest = rest[:size], rest[size:].removeprefix(b"\n")
        if header["type"] == "event":
            yield json.loads(payload)
