"""How often an address may try what can be guessed or flooded.

Tries are counted by sliding window, in Redis for all processes. Who goes on past a limit is
refused for longer each time, until that has not happened for an hour. Redis away: each process
counts for itself, in bounded memory, so a limit is then per worker, never off.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import redis

from api.core.breaker import RedisBreaker
from api.core.client import address_block
from api.core.decisions import LimitDecisions
from api.core.errors import TooManyRequests
from api.core.redis_clients import Script, make_redis, place_of
from config.masking import mask
from config.settings import Settings

log = logging.getLogger(__name__)

# The version is that of what the keys hold.
_PREFIX = "signpost:tries:v1:"
_LONGEST_SECONDS = 3_600
# After which nothing is held against an address any more.
_FORGET_SECONDS = 3_600
_MOST_LOCAL = 10_000

# One step of `_Tries.step`, on the state in a hash: all processes see one count and one clock.
_STEP = Script("""
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local limit, window, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local forget = tonumber(ARGV[4])
local held = redis.call('HMGET', KEYS[1], 'window', 'count', 'before', 'strikes', 'until')
local function number(index) return tonumber(held[index] or 0) end
local count, before, strikes, ends = number(2), number(3), number(4), number(5)
if now < ends then return {0, strikes, math.ceil((ends - now) * 1000), 0} end
if now > ends + forget then strikes = 0 end
local index = math.floor(now / window)
if number(1) ~= index then
    before = number(1) == index - 1 and count or 0
    count = 0
end
local allowed = before * (1 - (now / window - index)) + count <= limit - 1
if allowed then
    count = count + 1
else
    strikes = strikes + 1
    ends = now + math.min(window * 2 ^ (strikes - 1), longest)
end
redis.call('HSET', KEYS[1], 'window', index, 'count', count, 'before', before,
    'strikes', strikes, 'until', string.format('%.6f', ends))
local wait = math.max(ends - now, 0)
redis.call('EXPIRE', KEYS[1], math.ceil(wait) + forget)
return {allowed and 1 or 0, strikes, math.ceil(wait * 1000), 1}
""")


class Rule(NamedTuple):
    """How many tries are let through within any so many seconds."""

    tries: int
    window_seconds: int = 60


class TooManyTries(TooManyRequests):
    """An address, or whatever else was counted, is refused for a while."""

    def __init__(self, wait_seconds: float, *, is_news: bool) -> None:
        super().__init__("This was tried too often.", math.ceil(wait_seconds))
        # False while an earlier refusal lasts: then it has been told of.
        self.is_news = is_news


class _Step(NamedTuple):
    """What came of a try."""

    allowed: bool
    strikes: int  # how often in a row the limit was passed
    wait_seconds: float
    is_news: bool  # False while an earlier refusal lasts
    shared: bool = False


@dataclass(slots=True)
class _Tries:
    """What is held of one address. A window's predecessor counts by the share of it that is still
    within the last minute, as in the sliding window counter that Cloudflare described in 2017."""

    window: int = 0
    count: int = 0
    before: int = 0
    strikes: int = 0
    until: float = 0.0

    def step(self, now: float, rule: Rule) -> _Step:
        """Count a try, or refuse it."""
        if now < self.until:
            return _Step(False, self.strikes, self.until - now, False)
        if now > self.until + _FORGET_SECONDS:
            self.strikes = 0
        index = int(now // rule.window_seconds)
        if index != self.window:
            self.before = self.count if index == self.window + 1 else 0
            self.window, self.count = index, 0
        share = 1 - (now / rule.window_seconds - index)
        if self.before * share + self.count <= rule.tries - 1:
            self.count += 1
            return _Step(True, self.strikes, 0.0, True)
        self.strikes += 1
        wait_seconds = min(rule.window_seconds * 2 ** (self.strikes - 1), _LONGEST_SECONDS)
        self.until = now + wait_seconds
        return _Step(False, self.strikes, wait_seconds, True)


class AddressLimits:
    """Counts tries of addresses. What is limited, and how, is given by name."""

    def __init__(
        self,
        redis_url: str | None,
        timeout_seconds: float,
        rules: Mapping[str, Rule],
        decisions: LimitDecisions | None = None,
    ) -> None:
        self._rules = dict(rules)
        self._decisions = LimitDecisions() if decisions is None else decisions
        self._client = make_redis(redis_url, timeout_seconds) if redis_url else None
        self._breaker = RedisBreaker(redis_url, "tries of addresses are counted per process")
        self._local: OrderedDict[str, _Tries] = OrderedDict()
        self._lock = threading.Lock()
        # Who is refused, and until when: not asked again meanwhile, however often they come.
        self._refused: OrderedDict[str, float] = OrderedDict()

    @classmethod
    def of(cls, settings: Settings, decisions: LimitDecisions | None = None) -> AddressLimits:
        """As the settings want them."""
        rules = {
            "link-password": Rule(settings.password_tries_per_minute),
            "sign-in": Rule(settings.sign_in_tries_per_minute),
            "account": Rule(settings.sign_in_tries_per_hour, 3_600),
            "status-token": Rule(settings.sign_in_tries_per_minute),
            "token": Rule(settings.token_requests_per_minute),
            "miss": Rule(settings.misses_per_minute),
        }
        return cls(settings.redis_url, settings.redis_timeout_seconds, rules, decisions)

    def hit(self, action: str, who: str, subject: str = "") -> None:
        """Count one try of `action` by `who`, on `subject` where tries on another are apart.

        `who` is mostly an address; an IPv6 address counts as its /64.

        Raises:
            TooManyTries: there were too many.
        """
        who = address_block(who)
        key = f"{action}:{subject}:{who}"
        wait_seconds = self._refused_for(key)
        if wait_seconds > 0:
            self._decisions.note(action, allowed=False, shared=self._client is not None)
            raise TooManyTries(wait_seconds, is_news=False)
        step = self._ask(key, self._rules[action])
        self._decisions.note(action, allowed=step.allowed, shared=step.shared)
        if step.allowed:
            return
        self._refuse(key, step.wait_seconds)
        if step.is_news:
            about = f"{action} {subject}".strip()
            wait = math.ceil(step.wait_seconds)
            log.warning("too many tries of %s (%s): refused for %d s", mask(who), about, wait)
        raise TooManyTries(step.wait_seconds, is_news=step.is_news)

    def _ask(self, key: str, rule: Rule) -> _Step:
        client = self._client
        if client is not None:
            place = place_of(client, _PREFIX + key)
            step = self._breaker.ask(lambda: _step_shared(client, key, rule), place)
            if step is not None:
                return step
        with self._lock:
            tries = self._local.pop(key, None) or _Tries()
            self._local[key] = tries
            if len(self._local) > _MOST_LOCAL:
                self._local.popitem(last=False)
            return tries.step(time.time(), rule)

    def _refused_for(self, key: str) -> float:
        """Seconds for which an address is still refused."""
        until = self._refused.get(key)
        if until is None:
            return 0.0
        left = until - time.monotonic()
        if left <= 0:
            self._refused.pop(key, None)
        return left

    def _refuse(self, key: str, seconds: float) -> None:
        with self._lock:
            self._refused[key] = time.monotonic() + seconds
            if len(self._refused) > _MOST_LOCAL:
                self._refused.popitem(last=False)


def _step_shared(client: redis.Redis, key: str, rule: Rule) -> _Step:
    """`_Tries.step` on what Redis holds."""
    arguments = [*rule, _LONGEST_SECONDS, _FORGET_SECONDS]
    allowed, strikes, wait_ms, is_news = _STEP(client, [_PREFIX + key], arguments)
    return _Step(allowed == 1, strikes, wait_ms / 1000, is_news == 1, shared=True)
