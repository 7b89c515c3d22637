"""Evictions on their way to Redis: first tombstones in the place of copies, then the message.

What could not be sent waits here, so much of it as memory allows, and is sent when Redis is back.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import orjson

from api.core.breaker import RedisBreaker
from api.core.copies import PREFIX, bury_copies, evict_copies, in_calls
from api.core.epoch_names import names_of
from api.core.redis_clients import cluster_of, make_redis, place_of, publish

# Of keys that wait for Redis; past it the oldest are left to the life of what others hold.
_MAX_UNSENT = 100_000


class Outbox:
    """Sends the keys of changed entries to a channel; safe for threads."""

    def __init__(self, redis_url: str, timeout_seconds: float, channel: str) -> None:
        self._client = make_redis(redis_url, timeout_seconds)
        self._names = names_of(self._client, PREFIX)
        self._channel = channel
        self._breaker = RedisBreaker(redis_url, "evictions wait in this process")
        # Keys that wait, and whether others were told of them already: of a cluster the node of the
        # copies can be away, and that of the channel not.
        self._unsent: dict[str, bool] = {}
        self._lock = threading.Lock()

    @property
    def waits(self) -> bool:
        """Whether there is something that could not be sent."""
        return bool(self._unsent)

    def note_answer(self) -> None:
        """Redis has answered somebody else."""
        if cluster_of(self._client) is None:
            self._breaker.note_answer()

    def send(self, keys: Sequence[str]) -> None:
        """Send `keys`, and what could not be sent before."""
        with self._lock:
            due = self._unsent | dict.fromkeys(keys, False)
            self._unsent = {}
        if not due:
            return
        unsent = self._send(due) if cluster_of(self._client) is None else self._send_apart(due)
        if unsent:
            with self._lock:
                # What came meanwhile is newer.
                self._unsent = unsent | self._unsent
                while len(self._unsent) > _MAX_UNSENT:
                    del self._unsent[next(iter(self._unsent))]

    def _send(self, due: dict[str, bool]) -> dict[str, bool]:
        """Send to one server, which buries and tells in one step; what was not sent."""
        unsent: dict[str, bool] = {}
        for some in in_calls([*due]):
            if self._breaker.ask(lambda: self._evict(some)) is None:  # noqa: B023
                unsent |= dict.fromkeys(some, False)
        return unsent

    def _evict(self, keys: Sequence[str]) -> bool:
        evict_copies(self._client, keys, self._channel, orjson.dumps(list(keys)))
        return True

    def _send_apart(self, due: dict[str, bool]) -> dict[str, bool]:
        """Send to a cluster. All are told at once, also where the node that has the copies is away:
        it has none for them either. They are told again when there is a tombstone."""
        unburied = set(self._bury([*due]))
        tell = [key for key, told in due.items() if key not in unburied or not told]
        untold = set(self._tell(tell))
        return {key: key not in untold for key in due if key in unburied or key in untold}

    def _bury(self, keys: Sequence[str]) -> list[str]:
        """Bury the copies of keys; those of which it was not possible."""
        client, unburied = self._client, list[str]()
        for name, group in self._names.grouped(keys).items():
            place = place_of(client, name)
            for some in in_calls(group):
                if self._breaker.ask(lambda: bury_copies(client, some), place) is None:  # noqa: B023
                    unburied += some
        return unburied

    def _tell(self, keys: Sequence[str]) -> list[str]:
        """Publish keys; those of which it was not possible."""
        untold, place = list[str](), place_of(self._client, self._channel)
        for some in in_calls(keys):
            if self._breaker.ask(lambda: self._publish(some), place) is None:  # noqa: B023
                untold += some
        return untold

    def _publish(self, keys: Sequence[str]) -> bool:
        publish(self._client, self._channel, orjson.dumps(list(keys)))
        return True
