"""Counting limits shared by all processes, for rules that are not per API route.

Redis down: the count goes on in the process, so a limit is then per worker, never off.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from functools import cached_property

from limits import RateLimitItem
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter
from redis.exceptions import RedisError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether one more try is allowed; if not, after how many seconds."""

    allowed: bool
    retry_after_seconds: int


class RateLimiter:
    """Sliding window counters."""

    def __init__(self, redis_url: str | None, timeout_seconds: float) -> None:
        self._shared = None
        if redis_url:
            # The strategy is in the prefix: its keys are of another type than other strategies'.
            storage = storage_from_string(
                redis_url.replace("unix://", "redis+unix://", 1),
                key_prefix="signpost:limits:sliding",
                socket_timeout=timeout_seconds,
                socket_connect_timeout=timeout_seconds,
            )
            self._shared = SlidingWindowCounterRateLimiter(storage)

    def check(self, limit: RateLimitItem, *who: str) -> Decision:
        """Whether `who` may try once more; counts nothing."""
        return self._ask(limit, who, count=False)

    def hit(self, limit: RateLimitItem, *who: str) -> Decision:
        """Count one try of `who`."""
        return self._ask(limit, who, count=True)

    def _ask(self, limit: RateLimitItem, who: tuple[str, ...], *, count: bool) -> Decision:
        if self._shared is not None:
            try:
                return _decide(self._shared, limit, who, count=count)
            except RedisError as error:
                log.warning("limits are counted per process, Redis is away: %s", error)
        return _decide(self._local, limit, who, count=count)

    @cached_property
    def _local(self) -> SlidingWindowCounterRateLimiter:
        # Made at first use: it starts a thread, which a fork would leave behind.
        return SlidingWindowCounterRateLimiter(MemoryStorage())


def _decide(
    limiter: SlidingWindowCounterRateLimiter,
    limit: RateLimitItem,
    who: tuple[str, ...],
    *,
    count: bool,
) -> Decision:
    allowed = limiter.hit(limit, *who) if count else limiter.test(limit, *who)
    if allowed:
        return Decision(allowed=True, retry_after_seconds=0)
    reset = limiter.get_window_stats(limit, *who).reset_time
    return Decision(allowed=False, retry_after_seconds=max(1, math.ceil(reset - time.time())))
