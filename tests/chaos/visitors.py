"""Visitors in a process of their own, who follow links and write down what they were answered.

python -m tests.chaos.visitors PLAN

Each request carries a number that no other has, so that each can be found again among the clicks.
PLAN is a JSON file, see `Plan`. SIGTERM sends the visitors home.
"""

from __future__ import annotations

import json
import random
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from tests.running import BROWSER

ANSWERED = "answered"  # the first line of a redirect arrived
CUT_OFF = "cut off"  # it was sent, and the connection ended before an answer
REFUSED = "refused"  # no connection, or an answer that was no redirect
_TIMEOUT_SECONDS = 10.0
_PAUSE_SECONDS = 0.05
_LATE_SECONDS = 0.5
_REPORT_SECONDS = 0.5
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the visitors do."""

    port: int
    slugs: list[str]
    visitors: int
    requests_per_second: float
    seed: int
    outcomes: str  # file that gets a line for each request: number, place of the slug, outcome
    counts: str  # file that tells from time to time how many there were of each

    def write(self, path: Path) -> None:
        """Leave the plan where the process reads it."""
        path.write_text(json.dumps(asdict(self)))


@dataclass(frozen=True, slots=True)
class Request:
    """What became of one request."""

    number: int
    link: int
    outcome: str


def read_outcomes(path: Path) -> Iterator[Request]:
    """The requests that a process wrote down."""
    with path.open() as lines:
        for line in lines:
            number, link, outcome = line.rstrip("\n").split("\t")
            yield Request(int(number), int(link), outcome)


def read_counts(path: Path) -> Counter[str]:
    """How many requests had each outcome so far."""
    try:
        return Counter(json.loads(path.read_text()))
    except FileNotFoundError:
        return Counter()


class Visitors:
    """Threads of one process, who share a file and the counts."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._stream: IO[str] | None = None

    def run(self) -> None:
        """Visit until SIGTERM or SIGINT, which must be blocked in every thread."""
        with Path(self._plan.outcomes).open("w") as self._stream:
            threads = [
                threading.Thread(target=self._visit, args=[index])
                for index in range(self._plan.visitors)
            ]
            for thread in threads:
                thread.start()
            while signal.sigtimedwait(_END_SIGNALS, _REPORT_SECONDS) is None:
                self._report()
            self._end.set()
            for thread in threads:
                thread.join()
        self._report()

    def _visit(self, index: int) -> None:
        plan = self._plan
        chance = random.Random(f"{plan.seed}/{index}")
        connection = Connection(plan.port)
        step = plan.visitors / plan.requests_per_second
        due = time.monotonic() + chance.uniform(0, step)
        number = index
        while not self._end.wait(max(due - time.monotonic(), 0)):
            link = min(int(chance.paretovariate(1.0)) - 1, len(plan.slugs) - 1)
            outcome = connection.get(f"/{plan.slugs[link]}?utm_content={number}")
            self._note(Request(number, link, outcome))
            number += plan.visitors
            # Who was held up for long does not hurry afterwards.
            due = max(due + step, time.monotonic() - _LATE_SECONDS)
            if outcome != ANSWERED:
                self._end.wait(_PAUSE_SECONDS)
        connection.close()

    def _note(self, request: Request) -> None:
        with self._lock:
            assert self._stream is not None
            self._stream.write(f"{request.number}\t{request.link}\t{request.outcome}\n")
            self._counts[request.outcome] += 1

    def _report(self) -> None:
        with self._lock:
            text = json.dumps(self._counts)
        path = Path(self._plan.counts)
        draft = path.with_suffix(".new")
        draft.write_text(text)
        draft.replace(path)


class Connection:
    """A kept connection to the web server, which tells apart how far a request came."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def get(self, target: str) -> str:
        """Send one request; answers what became of it."""
        try:
            connection = self._socket or self._connect()
        except OSError:
            return REFUSED
        request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {BROWSER}\r\n\r\n"
        received = b""
        try:
            connection.sendall(request.encode())
            while b"\r\n\r\n" not in received:
                received += self._receive(connection)
            self._read_body(connection, received)
        except OSError:
            self.close()
        if b"\r\n" not in received:
            return CUT_OFF
        return ANSWERED if received.split(b" ", 2)[1].startswith(b"3") else REFUSED

    def close(self) -> None:
        """The next request takes a new connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        self._socket = socket.create_connection(("127.0.0.1", self._port), _TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _read_body(self, connection: socket.socket, received: bytes) -> None:
        head, _, body = received.partition(b"\r\n\r\n")
        fields = head.lower().split(b"\r\n")
        lengths = [field[15:] for field in fields if field.startswith(b"content-length:")]
        left = int(lengths[0]) - len(body) if lengths else 0
        while left > 0:
            left -= len(self._receive(connection))
        if b"connection: close" in fields or not lengths:
            self.close()

    @staticmethod
    def _receive(connection: socket.socket) -> bytes:
        data = connection.recv(65536)
        if not data:
            raise ConnectionResetError
        return data


def main() -> None:
    """Do what the plan says."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _END_SIGNALS)
    Visitors(Plan(**json.loads(Path(sys.argv[1]).read_text()))).run()


if __name__ == "__main__":
    main()
