"""The queue of the segments that could not be counted, for scripts/dead-letters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from api.clicks.queue.broker import FAILURES, REASON_HEADER, Broker, close_quietly, why
from api.clicks.rejected import DeadLetter
from api.core.errors import Unavailable

_HEARTBEAT_SECONDS = 60.0
_REASONS = {
    "delivery_limit": "it was delivered too often: its consumers died of it, or lost the broker",
    "rejected": "a consumer refused it",
}


class DeadQueue:
    """Holds what it scans until it ends: then all that was neither replayed nor dropped is back.

    Usable as a context manager. Two at once see different letters.
    """

    def __init__(self, broker: Broker) -> None:
        """Connect.

        Raises:
            Unavailable: the broker is away.
        """
        self._broker = broker
        try:
            self._connection = broker.connect(_HEARTBEAT_SECONDS)
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()
        except FAILURES as error:
            raise Unavailable(f"AMQP_URL: {why(error)}") from error
        self._tag = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        close_quietly(self._connection)
        if isinstance(error, FAILURES):
            raise Unavailable(f"AMQP_URL: {why(error)}") from error

    def count(self) -> int:
        """How many wait, not counting those that somebody else looks at."""
        queue = self._channel.queue_declare(self._broker.dead_queue, passive=True)
        return int(queue.method.message_count)

    def scan(self) -> Iterator[DeadLetter]:
        """Each of them, the longest there first.

        Not more than there are now: replayed ones may come back at once.
        """
        for _ in range(self.count()):
            method, properties, body = self._channel.basic_get(self._broker.dead_queue)
            if method is None:
                return
            self._tag = method.delivery_tag
            reason, since = _story(properties.headers or {}, properties.timestamp)
            yield DeadLetter(properties.message_id or f"nameless-{self._tag}", reason, since, body)

    def replay(self, letter: DeadLetter) -> None:
        """Publish it to the consumers again; it leaves the dead when that is confirmed."""
        self._broker.publish(self._channel, letter.id, letter.body)
        self._channel.basic_ack(self._tag)

    def drop(self, letter: DeadLetter) -> None:
        """Delete it for good."""
        del letter  # the latest of the scan
        self._channel.basic_ack(self._tag)


def _story(headers: dict[str, Any], timestamp: int | None) -> tuple[str, datetime | None]:
    """Why and since when a message is dead, by our own word or the broker's."""
    if REASON_HEADER in headers:
        since = datetime.fromtimestamp(timestamp, UTC) if timestamp else None
        return str(headers[REASON_HEADER]), since
    deaths = headers.get("x-death") or [{}]
    cause, moment = str(deaths[0].get("reason", "")), deaths[0].get("time")
    since = moment.replace(tzinfo=UTC) if isinstance(moment, datetime) else None
    return _REASONS.get(cause, cause), since
