"""Going on without a dependency that is away, rather than waiting for it again and again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from redis.exceptions import RedisError

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_RETRY_SECONDS = 1.0


class RedisBreaker:
    """Asks Redis, but after a failure only once in a while until an answer comes.

    Tells the log when Redis goes and when it is back, and nothing between. Of a cluster it holds
    that of each node by itself, by the name of its *place* (see `redis_clients.place_of`).
    """

    def __init__(self, without: str, retry_seconds: float = _RETRY_SECONDS) -> None:
        """`without` says how things are while Redis is away."""
        self._without = without
        self._retry_seconds = retry_seconds
        # When a place that is away is asked again.
        self._away: dict[str, float] = {}

    def ask(self, question: Callable[[], Result], place: str = "") -> Result | None:
        """The answer; None while Redis is away."""
        if self._away and (retry_at := self._away.get(place)) is not None:
            now = time.monotonic()
            if now < retry_at:
                return None
            # One finds out, the others do not wait for it.
            self._away[place] = now + self._retry_seconds
        try:
            answer = question()
        except (RedisError, OSError) as error:
            was_away = place in self._away
            self._away[place] = time.monotonic() + self._retry_seconds
            if not was_away:
                name = f"Redis at {place}" if place else "Redis"
                log.warning("%s, %s is away: %s", self._without, name, error)
            return None
        if self._away:
            self.note_answer(place)
        return answer

    def note_answer(self, place: str = "") -> None:
        """Redis has answered, so that it can be asked again."""
        if self._away.pop(place, None) is not None:
            log.info("Redis is back%s, no longer: %s", place and f" at {place}", self._without)
