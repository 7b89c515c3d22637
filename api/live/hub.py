"""All streams of one process: who watches what, how many they may be, and what they are sent."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from api.core.errors import TooManyRequests, Unavailable
from api.live.messages import Message, Subject
from api.live.streams import LiveStream, Peer, event

_RETRY_AFTER_SECONDS = 10
# A client that reads nothing for so long is cut off.
_STUCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on the streams of a process."""

    streams: int
    streams_per_workspace: int
    buffered_events: int
    heartbeat_seconds: float


class LiveHub:
    """Passes clicks on to the streams that watch them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._streams: defaultdict[Subject, set[LiveStream]] = defaultdict(set)
        self._of_workspace: Counter[int] = Counter()
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._heard: set[Subject] = set()
        self._ended = False
        self._on_watch: list[Callable[[], None]] = []

    def on_watch(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a stream begins."""
        self._on_watch.append(listener)

    def open(self, subject: Subject, peer: Peer, allowed: Callable[[], bool]) -> LiveStream:
        """A new stream; it counts until its `close`.

        Raises:
            TooManyRequests: the workspace has as many as it may.
            Unavailable: the process has as many as it may, or is about to stop.
        """
        with self._lock:
            self._check_room(subject.workspace)
            stream = LiveStream(
                subject,
                peer,
                allowed,
                self._forget,
                capacity=self._limits.buffered_events,
                heartbeat_seconds=self._limits.heartbeat_seconds,
            )
            self._streams[subject].add(stream)
            self._of_workspace[subject.workspace] += 1
            if subject in self._heard:
                stream.confirmed.set()
        for listener in self._on_watch:
            listener()
        return stream

    def deliver(self, subject: Subject, message: Message) -> None:
        """Send clicks to those who watch them."""
        streams = self._watching(subject)
        if not streams:
            return
        pieces = []
        if message.skipped > 0:
            pieces.append((event("skipped", {"count": message.skipped}), message.skipped))
        for click in message.clicks:
            pieces.append((event("click", click, self._identifier()), 1))
        for stream in streams:
            for piece, clicks in pieces:
                stream.offer(piece, clicks)

    def watched(self) -> Collection[Subject]:
        """What is watched at present."""
        with self._lock:
            return set(self._streams)

    def confirm(self, subject: Subject) -> None:
        """From now on the clicks of `subject` arrive, again if they did not for a while."""
        with self._lock:
            self._heard.add(subject)
            streams = self._watching(subject)
        for stream in streams:
            if stream.lost_since is not None:
                lost_since, stream.lost_since = stream.lost_since, None
                stream.offer(gap(subject, "resumed", since=lost_since, until=datetime.now(UTC)))
            stream.confirmed.set()

    def release(self, subjects: Collection[Subject]) -> Collection[Subject]:
        """Those of `subjects` that nobody watches any more; whoever watches one from now on waits
        until it is confirmed again."""
        with self._lock:
            released = [subject for subject in subjects if subject not in self._streams]
            self._heard.difference_update(released)
        return released

    def lose(self) -> None:
        """From now on no clicks arrive, until they are confirmed again."""
        now = datetime.now(UTC)
        with self._lock:
            self._heard.clear()
            streams = self._all()
        for stream in streams:
            if stream.confirmed.is_set() and stream.lost_since is None:
                stream.lost_since = now
                stream.offer(gap(stream.subject, "lost", since=now))

    def cut_off_stuck(self) -> None:
        """Free what clients hold that do not read."""
        for stream in self._all():
            if stream.stuck_seconds() > _STUCK_SECONDS:
                stream.end()

    def end(self) -> None:
        """End all streams at once, and begin no other: the process is about to stop."""
        with self._lock:
            self._ended = True
            streams = self._all()
        for stream in streams:
            stream.end()

    def _check_room(self, workspace: int) -> None:
        if self._ended:
            raise Unavailable("This process is about to stop; try again.")
        if self._of_workspace[workspace] >= self._limits.streams_per_workspace:
            raise TooManyRequests(
                "The workspace has as many live streams as it may.", _RETRY_AFTER_SECONDS
            )
        if self._of_workspace.total() >= self._limits.streams:
            raise Unavailable(
                "There are as many live streams as there may be.", _RETRY_AFTER_SECONDS
            )

    def _all(self) -> list[LiveStream]:
        with self._lock:
            return [stream for streams in self._streams.values() for stream in streams]

    def _watching(self, subject: Subject) -> tuple[LiveStream, ...]:
        with self._lock:
            return tuple(self._streams.get(subject, ()))

    def _forget(self, stream: LiveStream) -> None:
        with self._lock:
            streams = self._streams.get(stream.subject)
            if streams is None or stream not in streams:
                return
            streams.discard(stream)
            if not streams:
                del self._streams[stream.subject]
            workspace = stream.subject.workspace
            self._of_workspace[workspace] -= 1
            if not self._of_workspace[workspace]:
                del self._of_workspace[workspace]

    def _identifier(self) -> str:
        # The time comes first, so that any process knows it from a `Last-Event-ID`.
        return f"{time.time_ns() // 1_000_000}-{next(self._numbers)}"


def gap(
    subject: Subject, reason: str, *, since: datetime | None, until: datetime | None = None
) -> bytes:
    """The event that says which clicks a watcher is not told, and where they can be read."""
    link = "{id}" if subject.link is None else subject.link
    return event(
        "gap",
        {
            "reason": reason,
            "since": since,
            "until": until,
            "clicks": f"/api/v1/links/{link}/clicks",
        },
    )
