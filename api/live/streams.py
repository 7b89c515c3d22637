"""One watcher's stream: a bounded buffer between the clicks that come and a client that reads.

The form is that of server-sent events (HTML Living Standard, section 9.2).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import orjson

from api.live.messages import Subject

# How soon a client that went away is noticed.
_LOOK_SECONDS = 1.0
# A credential that was revoked watches no longer than this: by default for a minute.
_ALLOWED_HEARTBEATS = 4
# What is no click is kept for a slow reader, too; Redis may come and go often.
_NOTICES = 8


class Peer(Protocol):
    """The client at the other end."""

    def gone(self) -> bool:
        """Whether it has closed its connection."""

    def abort(self) -> None:
        """End the connection, even while something is being sent."""


class LiveStream:
    """The body of an answer that goes on: an iterator over pieces of it.

    The server calls `close` when the client is gone or the stream has ended.
    """

    def __init__(
        self,
        subject: Subject,
        peer: Peer,
        allowed: Callable[[], bool],
        on_close: Callable[[LiveStream], None],
        *,
        capacity: int,
        heartbeat_seconds: float,
    ) -> None:
        """`allowed` is asked now and then whether the client may watch on."""
        self.subject = subject
        self.confirmed = threading.Event()
        self.lost_since: datetime | None = None
        self._peer = peer
        self._allowed = allowed
        self._on_close = on_close
        self._capacity = capacity
        self._heartbeat_seconds = heartbeat_seconds
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._notices: deque[bytes] = deque(maxlen=_NOTICES)
        self._skipped = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = False
        self._sending_since: float | None = None
        self._sent_at = time.monotonic()
        self._looked_at = self._asked_at = time.monotonic()

    def offer(self, piece: bytes, clicks: int = 0) -> None:
        """Add what stands for so many clicks; a reader too slow for it loses the oldest clicks and
        is told how many they were."""
        with self._lock:
            self._waiting.append((piece, clicks))
            if len(self._waiting) > self._capacity:
                oldest, skipped = self._waiting.popleft()
                self._skipped += skipped
                if not skipped:
                    self._notices.append(oldest)
        self._wake.set()

    def end(self) -> None:
        """End it now. A client that does not read what is being sent is cut off."""
        self._ended = True
        self._wake.set()
        if self._sending_since is not None:
            self._peer.abort()

    def stuck_seconds(self) -> float:
        """For how long the client has not read what is being sent."""
        since = self._sending_since
        return 0.0 if since is None else time.monotonic() - since

    def __iter__(self) -> LiveStream:
        return self

    def __next__(self) -> bytes:
        self._sending_since = None
        while not self._ended and self._goes_on():
            if piece := self._take():
                self._sending_since = self._sent_at = time.monotonic()
                return piece
            left = self._sent_at + self._heartbeat_seconds - time.monotonic()
            if left <= 0:
                self.offer(b": heartbeat\n\n")
            else:
                self._wake.wait(min(left, _LOOK_SECONDS))
        raise StopIteration

    def close(self) -> None:
        """Let go of everything."""
        self._ended = True
        self._on_close(self)

    def _take(self) -> bytes:
        self._wake.clear()
        with self._lock:
            pieces = [*self._notices]
            if self._skipped:
                pieces.append(event("skipped", {"count": self._skipped}))
            pieces += [piece for piece, _ in self._waiting]
            self._notices.clear()
            self._waiting.clear()
            self._skipped = 0
        return b"".join(pieces)

    def _goes_on(self) -> bool:
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return True
        self._looked_at = now
        if self._peer.gone():
            return False
        if now - self._asked_at < _ALLOWED_HEARTBEATS * self._heartbeat_seconds:
            return True
        self._asked_at = now
        return self._allowed()


def event(name: str, data: Mapping[str, Any], identifier: str | None = None) -> bytes:
    """One event; its data is one line of JSON."""
    line = b"" if identifier is None else f"id: {identifier}\n".encode()
    content = orjson.dumps(data, option=orjson.OPT_UTC_Z)
    return b"%bevent: %b\ndata: %b\n\n" % (line, name.encode(), content)
