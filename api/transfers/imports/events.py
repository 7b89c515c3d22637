"""How far an import is, as server-sent events (HTML Living Standard, section 9.2)."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from api.core.answers import to_json
from api.core.errors import NotFound, TooManyRequests, Unavailable

# How soon a change is told, and a client that went away is noticed.
_LOOK_SECONDS = 1.0
_HEARTBEAT_SECONDS = 15.0
# A credential that was revoked watches no longer than this.
_ALLOWED_SECONDS = 60.0
_RETRY_MILLISECONDS = 2_000
_RETRY_SECONDS = 10
ENDED = ("finished", "failed", "cancelled")


class Peer(Protocol):
    """The client at the other end."""

    def gone(self) -> bool:
        """Whether it has closed its connection."""


class ImportEvents:
    """The streams of one process, so many at the same time, and so many of a workspace."""

    def __init__(self, most: int, most_of_workspace: int) -> None:
        self._most = most
        self._most_of_workspace = most_of_workspace
        self._open: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._ending = False

    def end(self) -> None:
        """End all streams: the process is about to stop."""
        self._ending = True

    def watch(
        self,
        workspace: int,
        look: Callable[[], dict[str, Any]],
        *,
        peer: Peer,
        allowed: Callable[[], bool],
    ) -> EventStream:
        """A stream of what `look` tells, whenever it is another, until the import has ended.

        Raises:
            TooManyRequests: there are as many streams as there may be.
        """
        with self._lock:
            full = self._open[workspace] >= self._most_of_workspace
            if full or self._open.total() >= self._most:
                raise TooManyRequests("Too many streams are open.", _RETRY_SECONDS)
            self._open[workspace] += 1

        def close() -> None:
            with self._lock:
                self._open[workspace] -= 1

        return EventStream(self._events(look, peer, allowed), close)

    def _events(
        self, look: Callable[[], dict[str, Any]], peer: Peer, allowed: Callable[[], bool]
    ) -> Iterator[bytes]:
        yield f"retry: {_RETRY_MILLISECONDS}\n\n".encode()
        told: dict[str, Any] | None = None
        sent_at = asked_at = time.monotonic()
        while not (self._ending or peer.gone()):
            try:
                now = look()
            except NotFound:
                return
            except Unavailable:
                now = told or {}
            if now and now != told:
                told, sent_at = now, time.monotonic()
                yield _event("progress", now)
            if now.get("state") in ENDED:
                yield _event("finished", now)
                return
            if time.monotonic() - sent_at > _HEARTBEAT_SECONDS:
                sent_at = time.monotonic()
                yield b": heartbeat\n\n"
            if time.monotonic() - asked_at > _ALLOWED_SECONDS:
                asked_at = time.monotonic()
                if not allowed():
                    return
            time.sleep(_LOOK_SECONDS)


class EventStream:
    """The body of an answer; the server closes it when it is over, or its client gone."""

    def __init__(self, events: Iterator[bytes], on_close: Callable[[], None]) -> None:
        self._events = events
        self._on_close = on_close
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self._events

    def close(self) -> None:
        """Give its place to another."""
        if not self._closed:
            self._closed = True
            self._on_close()


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), to_json(data))
