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
    """Asks Redis, but after a failure only once a second until an answer comes.

    Tells the log when Redis goes and when it is back, and nothing between.
    """

    def __init__(self, without: str) -> None:
        """`without` says how things are while Redis is away."""
        self._without = without
        self._away = False
        self._retry_at = 0.0

    def ask(self, question: Callable[[], Result]) -> Result | None:
        """The answer; None while Redis is away."""
        if self._away:
            now = time.monotonic()
            if now < self._retry_at:
                return None
            # One finds out, the others do not wait for it.
            self._retry_at = now + _RETRY_SECONDS
        try:
            answer = question()
        except (RedisError, OSError) as error:
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            was_away, self._away = self._away, True
            if not was_away:
                log.warning("%s, Redis is away: %s", self._without, error)
            return None
        self.note_answer()
        return answer

    def note_answer(self) -> None:
        """Redis has answered, so that it can be asked again."""
        if self._away:
            self._away = False
            log.info("Redis is back, no longer: %s", self._without)
