"""Visitors and callers who go on asking while servers come and go, and keep account of it."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException

from tests.gateway.client import Answer, Connection
from tests.gateway.system import Gateway

# What may be sent twice (RFC 9110 section 9.2.2).
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})


class Load:
    """Threads that ask as fast as they are answered, but for a short pause."""

    def __init__(
        self,
        gateway: Gateway,
        key: Mapping[str, str],
        slugs: Sequence[str],
        *,
        visitors: int = 3,
        callers: int = 2,
        kept: bool = True,
        pause_seconds: float = 0.002,
    ) -> None:
        """With `kept` each asks over one connection, else over a new one for each request."""
        self._gateway = gateway
        self._key = key
        self._slugs = slugs
        self._end = threading.Event()
        self._lock = threading.Lock()
        self.callers = callers
        self._kept = kept
        self._pause_seconds = pause_seconds
        self.answered: Counter[str] = Counter()
        self.failures: list[tuple[str, str]] = []
        self.longest_seconds = 0.0
        """Of a request that was answered."""
        self.followed: Counter[str] = Counter()
        """Redirects that were answered, by slug."""
        work = [self._visit] * visitors + [self._manage] * callers
        self._threads = [threading.Thread(target=self._go_on, args=(one,)) for one in work]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Let all finish what they have begun."""
        self._end.set()
        for thread in self._threads:
            thread.join()

    @property
    def lost_idempotent(self) -> list[tuple[str, str]]:
        """Requests without their answer that may be sent twice."""
        return [failure for failure in self.failures if failure[0] in IDEMPOTENT]

    def report(self) -> str:
        """What was answered and what was lost."""
        asked = ", ".join(f"{count} {method}" for method, count in sorted(self.answered.items()))
        return f"{asked}; lost: {len(self.failures)} {self.failures[:5]}"

    def _go_on(self, work: Callable[[Connection], None]) -> None:
        connection = self.connect()
        try:
            while not self._end.is_set():
                work(connection)
        finally:
            connection.close()
            self.note_end(connection)

    def connect(self) -> Connection:
        """A new connection to what is asked."""
        return Connection(self._gateway)

    def note_end(self, connection: Connection) -> None:
        """One of the connections is at its end."""

    def _visit(self, connection: Connection) -> None:
        for slug in self._slugs:
            method = "HEAD" if slug == self._slugs[0] else "GET"
            if self._ask(connection, method, f"/{slug}", 302) is not None:
                with self._lock:
                    self.followed[slug] += 1

    def _manage(self, connection: Connection) -> None:
        slug = f"load-{uuid.uuid4().hex}"
        body = json.dumps({"url": "https://example.com/", "slug": slug}).encode()
        made = self._ask(connection, "POST", "/api/v1/links", 201, body)
        if made is None:
            return
        path = f"/api/v1/links/{made.json['id']}"
        self._ask(connection, "GET", path, 200)
        self._ask(connection, "PATCH", path, 200, b'{"title": "Changed"}')
        # Of a server that died after it had deleted the link: asked again, it is gone, as wished.
        self._ask(connection, "DELETE", path, 204, also=404)

    def _ask(
        self,
        connection: Connection,
        method: str,
        path: str,
        expected: int,
        body: bytes | None = None,
        also: int = 0,
    ) -> Answer | None:
        headers = self._key if path.startswith("/api/") else {}
        began = time.monotonic()
        try:
            answer = connection.ask(method, path, body, headers)
        except (OSError, HTTPException) as error:
            connection.close()
            self._fail(method, f"{path} {error!r}")
            return None
        finally:
            if not self._kept:
                connection.close()
        if answer.status not in (expected, also):
            self._fail(method, f"{path} {answer.status} {answer.body[:200]!r}")
            return None
        with self._lock:
            self.answered[method] += 1
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
        time.sleep(self._pause_seconds)
        return answer

    def _fail(self, method: str, reason: str) -> None:
        with self._lock:
            self.failures.append((method, f"{time.strftime('%X')} {reason}"))
        time.sleep(0.05)
