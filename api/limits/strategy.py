"""The strategy that Flask-Limiter counts by: a caller's rate and its workspace's calls in one step.

A strategy of the library counts one limit, and is asked again for what is left of it. Here one
script counts both limits of a request and says what is left: one round trip in place of four, and
a request that one limit refuses does not use up the other. In the process it is counted on the
storage that Flask-Limiter falls back to.
"""

from __future__ import annotations

import time
from typing import cast

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import STRATEGIES, RateLimiter, SlidingWindowCounterRateLimiter
from limits.util import WindowStats
from redis import Redis

from api.core.breaker import RedisBreaker
from api.core.redis_clients import Script, cluster_of, make_redis, place_of
from api.limits.counts import DAY_SECONDS, MINUTE_SECONDS, Asked, Counted

NAME = "signpost-plan"

# Of what is left a process takes no larger share in advance, so that others find some, too.
_SHARE = 32
# KEYS: the caller's minute, the workspace's day. ARGV: rate, quota (0: none), how many to take (0:
# to look only), and the share. The clock is Redis's own: all processes have the same minute.
_COUNT = Script("""
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local rate, quota, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local minute, day = math.floor(now / 60), math.floor(now / 86400)
local count, before, calls, refused, room = 0, 0, 0, 0, math.huge
if rate > 0 then
    local held = redis.call('HMGET', KEYS[1], 'minute', 'count', 'before')
    if tonumber(held[1]) == minute then
        count, before = tonumber(held[2]), tonumber(held[3])
    elseif tonumber(held[1]) == minute - 1 then
        before = tonumber(held[2])
    end
    room = math.floor(rate - before * (1 - (now / 60 - minute)) - count)
    if room < 1 then refused = 1 end
end
if quota > 0 then
    local held = redis.call('HMGET', KEYS[2], 'day', 'calls')
    if tonumber(held[1]) == day then calls = tonumber(held[2]) end
    room = math.min(room, quota - calls)
    if calls >= quota then refused = 2 end
end
local granted = 0
if refused == 0 and wanted > 0 then
    granted = math.min(wanted, math.max(1, math.floor(room / tonumber(ARGV[4]))))
    if rate > 0 then
        count = count + granted
        redis.call('HSET', KEYS[1], 'minute', minute, 'count', count, 'before', before)
        redis.call('EXPIRE', KEYS[1], 120)
    end
    if quota > 0 then
        calls = calls + granted
        redis.call('HSET', KEYS[2], 'day', day, 'calls', calls)
        redis.call('EXPIRE', KEYS[2], 86400)
    end
end
return string.format('%d %d %d %d %d %s.%06d', refused, granted, count, before, calls, clock[1],
    clock[2])
""")


class ClusterStorage(RedisStorage):
    """A Redis Cluster, in place of the library's: that connects when it is made, knows no TLS, and
    is away as a whole when one node is."""

    STORAGE_SCHEME = ["redis+cluster", "rediss+cluster"]  # noqa: RUF012 - the library's

    def __init__(
        self, uri: str, key_prefix: str, wrap_exceptions: bool = False, socket_timeout: float = 1
    ) -> None:
        super(RedisStorage, self).__init__(uri, wrap_exceptions)
        self.key_prefix = key_prefix
        self.target_server = "redis"
        self.dependency = self.dependencies["redis"].module
        self.uri = uri
        self.storage = make_redis(uri, socket_timeout)


class PlanItem(RateLimitItemPerMinute):
    """A request, in the form in which Flask-Limiter hands on a limit."""

    __slots__ = ["asked"]

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked.rate)
        self.asked = asked


class PlanStrategy(RateLimiter):
    """Counts requests; what it found stays in their `Asked`."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        if isinstance(storage, RedisStorage):
            self._client = cast(Redis, storage.get_connection())
            if not isinstance(storage, ClusterStorage):
                return  # Flask-Limiter finds out by itself when it is away
            self._breaker = RedisBreaker(
                storage.uri, "calls of some workspaces are counted per process"
            )
            storage = MemoryStorage()
        # Where all is counted, or what a node of a cluster counts that is away.
        self._local = cast(MemoryStorage, storage)
        self._windows = SlidingWindowCounterRateLimiter(storage)

    def hit(self, item: RateLimitItem, *_identifiers: str, cost: int = 1) -> bool:
        """Count a request, and take more in advance where `cost` says so; whether it is let
        through."""
        asked = cast(PlanItem, item).asked
        asked.counted = self.count(asked, cost)
        return asked.counted.refused_by is None

    def test(self, item: RateLimitItem, *_identifiers: str, cost: int = 1) -> bool:
        """Whether a request would be let through; counts nothing."""
        asked = cast(PlanItem, item).asked
        counted = self.count(asked, 0)
        return (not asked.rate or asked.rate_left(counted) >= cost) and (
            not asked.quota or asked.calls_left(counted) >= cost
        )

    def get_window_stats(self, item: RateLimitItem, *_identifiers: str) -> WindowStats:
        """When this minute ends, and what is left of the rate."""
        asked = cast(PlanItem, item).asked
        counted = self.count(asked, 0)
        reset = (counted.now // MINUTE_SECONDS + 1) * MINUTE_SECONDS
        return WindowStats(reset, asked.rate_left(counted))

    def count(self, asked: Asked, cost: int) -> Counted:
        """Count up to `cost` requests, or look only when it is 0."""
        if not isinstance(self.storage, RedisStorage):
            return self._count_here(asked, cost, self._local)
        if cluster_of(self._client) is None:
            return self._count_shared(asked, cost)
        counted = self._breaker.ask(
            lambda: self._count_shared(asked, cost), place_of(self._client, self._place(asked))
        )
        return counted or self._count_here(asked, min(cost, 1), self._local)

    def _place(self, asked: Asked) -> str:
        # In braces what a cluster keeps together.
        return f"{cast(RedisStorage, self.storage).key_prefix}:{{{asked.workspace_id}}}"

    def _count_shared(self, asked: Asked, cost: int) -> Counted:
        place = self._place(asked)
        minute, day = f"{place}:{asked.policy}:{asked.who}", f"{place}:calls"
        # One text as the answer: the client takes half as long to read it as a list.
        told = _COUNT(self._client, (minute, day), (asked.rate, asked.quota, cost, _SHARE))
        refused, granted, this_minute, minute_before, calls, now = told.split(b" ")
        return Counted(
            float(now),
            int(this_minute),
            int(minute_before),
            int(calls),
            (None, asked.policy, "calls")[int(refused)],
            int(granted),
        )

    def _count_here(self, asked: Asked, cost: int, storage: MemoryStorage) -> Counted:
        now = time.time()
        minute = f"{asked.workspace_id}:{asked.policy}:{asked.who}"
        day = f"{asked.workspace_id}:calls:{int(now // DAY_SECONDS)}"
        refused_by = None
        if asked.quota and storage.get(day) + cost > asked.quota:
            refused_by = "calls"
        elif asked.rate and cost:
            rate = RateLimitItemPerMinute(asked.rate)
            if not self._windows.hit(rate, minute, cost=cost):
                refused_by = asked.policy
        count = before = 0
        if asked.rate:
            key = RateLimitItemPerMinute(asked.rate).key_for(minute)
            before, _, count, _ = storage.get_sliding_window(key, MINUTE_SECONDS)
        if asked.quota and cost and refused_by is None:
            storage.incr(day, DAY_SECONDS - now % DAY_SECONDS, cost)
        return Counted(now, count, before, storage.get(day), refused_by, shared=False)


# Where Flask-Limiter looks for a strategy by its name.
STRATEGIES[NAME] = PlanStrategy  # type: ignore[assignment]
