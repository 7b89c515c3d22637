"""Going on without a dependency that is away, rather than waiting for it again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from redis.exceptions import RedisError

from api.core.dependencies import Dependency, dependencies

Result = TypeVar("Result")

_RETRY_SECONDS = 1.0


class RedisBreaker:
    """Asks Redis, but after a failure only once in a while until an answer comes.

    Of a cluster it holds that of each node by itself, by the name of its *place* (see
    `redis_clients.place_of`). What it finds is what the process knows of Redis.
    """

    def __init__(
        self, redis_url: str | None, without: str, retry_seconds: float = _RETRY_SECONDS
    ) -> None:
        """`without` says how things are while Redis is away."""
        self._redis_url = redis_url or ""
        self._without = without
        self._retry_seconds = retry_seconds
        # When a place that is away is asked again.
        self._away: dict[str, float] = {}
        self._places: dict[str, Dependency] = {}
        if redis_url:
            self._dependency("")  # whoever finds it down first tells what that means here, too

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
            self._dependency(place).failed(error)
            self._away[place] = time.monotonic() + self._retry_seconds
            return None
        self.note_answer(place)
        return answer

    def note_answer(self, place: str = "") -> None:
        """Redis has answered, so that it can be asked again."""
        if self._away:
            self._away.pop(place, None)
        (self._places.get(place) or self._dependency(place)).answered()

    def _dependency(self, place: str) -> Dependency:
        found = self._places.get(place)
        if found is None:
            found = self._places[place] = redis_dependency(self._redis_url, place)
            found.without(self._without)
        return found


def redis_dependency(redis_url: str, place: str = "") -> Dependency:
    """Redis, or one node of it, as this process finds it."""
    return dependencies.of(f"redis {place}".strip(), redis_url)
