"""A client of server-sent events, on a plain socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Any, Self


@dataclass
class Event:
    """An event, or a comment, which has no data."""

    name: str
    data: dict[str, Any] = field(default_factory=dict)
    identifier: str | None = None


def parse(text: str) -> Event | None:
    """One event of a stream; None if it is one of fields that are no event."""
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        assert name not in fields, text
        fields[name] = value.removeprefix(" ")
    if "data" in fields:
        return Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
    return Event("comment") if fields.get("") == "heartbeat" else None


class LiveReader:
    """Opens a stream; reads it in the background, or not at all with `reads=False`."""

    def __init__(
        self, port: int, key: str, path: str, *, reads: bool = True, **headers: str
    ) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)
        if not reads:
            self._connect_narrowly(port)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(
            "GET", f"/api/v1{path}", headers={"Authorization": f"Bearer {key}"} | sent
        )
        self.socket = self._connection.sock
        self.response = self._connection.getresponse()
        self.status = self.response.status
        self.headers = self.response.headers
        self.events: list[Event] = []
        self.ended_at: float | None = None
        self.ended_whole = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        if reads:
            self.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    def read(self) -> None:
        """Begin to read."""
        self._thread.start()

    def leave(self) -> None:
        """Go away without a word."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        if self._thread.ident is not None:
            self._thread.join(10)
        self.response.close()
        self._connection.close()
        self.socket.close()

    def named(self, name: str) -> list[Event]:
        """The events of a name that have come."""
        return [event for event in list(self.events) if event.name == name]

    def wait_for(self, name: str, number: int = 1, seconds: float = 20) -> list[Event]:
        """So many events of a name, once they have come."""
        deadline = time.monotonic() + seconds
        while len(found := self.named(name)) < number:
            assert time.monotonic() < deadline, self.events[-20:]
            time.sleep(0.02)
        return found

    def wait_end(self, seconds: float) -> None:
        """Wait until the server has ended it."""
        deadline = time.monotonic() + seconds
        while self.ended_at is None:
            assert time.monotonic() < deadline, "the stream goes on"
            time.sleep(0.02)

    def _connect_narrowly(self, port: int) -> None:
        # Little fits on the way, so that the server soon feels that nobody reads.
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.settimeout(30)
        narrow.connect(("127.0.0.1", port))
        self._connection.sock = narrow

    def _read(self) -> None:
        text = ""
        with suppress(OSError, ValueError, AttributeError, HTTPException):
            while piece := self.response.read1(65536):
                text += piece.decode()
                *whole, text = text.split("\n\n")
                self.events += [event for event in map(parse, whole) if event is not None]
            self.ended_whole = True
        self.ended_at = time.monotonic()


def moment(text: str) -> datetime:
    """A time of an event."""
    return datetime.fromisoformat(text)
