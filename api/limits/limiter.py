"""Flask-Limiter, held to the routes of the API.

It chooses where is counted: in Redis, or in the process while Redis is away, with one line in the
log when that changes, and when to look for Redis again. As an extension it would look at every
request of the application; here it is given no hooks, and is asked where the caller is known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator
from functools import cached_property
from types import SimpleNamespace
from typing import Any, cast

from flask import Flask, g
from flask_limiter import Limiter, RateLimitExceeded, RouteLimit
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError
from redis.retry import Retry

from api.core.decisions import LimitDecisions
from api.core.principal import Principal
from api.limits import strategy
from api.limits.counts import (
    DAY_SECONDS,
    MINUTE_SECONDS,
    Asked,
    Counted,
    ask,
    seconds_to_day,
    seconds_to_minute,
    seconds_to_room,
)
from api.limits.errors import QuotaExceeded
from api.limits.leases import Leases
from api.limits.plans import WorkspacePlans
from config.redis_urls import is_cluster

# Other strategies keep other types under the same names, and the version is that of what is kept.
_PREFIX = "signpost:plans:v1"


class PlanLimiter:
    """Lets a request of the API through, or refuses it, by the plan of its workspace."""

    def __init__(
        self,
        plans: WorkspacePlans,
        redis_url: str | None,
        timeout_seconds: float,
        decisions: LimitDecisions,
    ) -> None:
        self._plans = plans
        self._decisions = decisions
        self._leases = Leases()
        self._redis_url = redis_url
        self._timeout_seconds = timeout_seconds

    def check(self, caller: Principal, writes: bool) -> dict[str, str]:
        """Count a request of `caller`; the headers that tell what is left.

        Raises:
            QuotaExceeded: its plan does not allow it now.
        """
        asked = ask(self._plans.of(caller.workspace_id), caller, writes=writes)
        if not asked.rate and not asked.quota:
            return {}
        allowed = self._is_let_through(asked)
        shared = bool(self._redis_url) and self._strategy() is self._shared
        shared = shared and (asked.counted is None or asked.counted.shared)
        self._decisions.note(asked.policy, allowed=allowed, shared=shared)
        if allowed:
            return _headers(asked, 0) if asked.counted else {}
        raise _refusal(asked)

    def look(self, asked: Asked) -> Counted:
        """What is counted; counts nothing."""
        try:
            return self._strategy().count(asked, 0)
        except RedisError:
            return cast(strategy.PlanStrategy, self._limiter._fallback_limiter).count(asked, 0)

    def _is_let_through(self, asked: Asked) -> bool:
        # While all is well Flask-Limiter's strategy is asked itself: to find out which limits a
        # request has costs the extension more than all else here.
        chosen = self._strategy()
        if chosen is self._shared:
            if self._leases.use(asked):
                return True
            with contextlib.suppress(RedisError):
                return self._ask(chosen, asked)
        g.plan_asked = asked
        for _ in range(2):  # another request may find out at the same moment that Redis is away
            try:
                self._checked()
            except RateLimitExceeded:
                return False
            except RedisError:
                continue
            return True
        return True  # away again already: this one is not counted

    def _ask(self, chosen: strategy.PlanStrategy, asked: Asked) -> bool:
        if not self._redis_url:
            return chosen.hit(strategy.PlanItem(asked))
        size = self._leases.begin(asked)
        try:
            return chosen.hit(strategy.PlanItem(asked), cost=max(size, 1))
        finally:
            self._leases.end(asked, size)

    def _strategy(self) -> strategy.PlanStrategy:
        return cast(strategy.PlanStrategy, self._limiter.limiter)

    @cached_property
    def _shared(self) -> strategy.PlanStrategy:
        """What counts while nothing is away."""
        return self._strategy()

    @cached_property
    def _limiter(self) -> Limiter:
        # Made at first use: it starts a thread, which a fork would leave behind.
        options: dict[str, Any] = {}
        if is_cluster(self._redis_url):
            options = {"key_prefix": _PREFIX, "socket_timeout": self._timeout_seconds}
        elif self._redis_url:
            options = {
                "key_prefix": _PREFIX,
                "socket_timeout": self._timeout_seconds,
                "socket_connect_timeout": self._timeout_seconds,
                # Of a connection that had ended; what takes too long is not tried again.
                "retry": Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,)),
            }
        limiter = Limiter(
            _who,
            strategy=strategy.NAME,
            storage_uri=(self._redis_url or "memory://").replace("unix://", "redis+unix://", 1),
            storage_options=options,
            in_memory_fallback_enabled=True,
        )
        limiter.init_app(_without_hooks())
        limiter.logger.addFilter(_is_about_storage)
        return limiter

    @cached_property
    def _checked(self) -> Callable[[], None]:
        """Nothing, behind the limit of the running request."""
        limit = _PlanLimit(
            limit_provider="1/minute", limiter=self._limiter, shared=True, scope=_policy
        )
        return limit(_nothing)


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class _PlanLimit(RouteLimit):
    """The limit of the running request, which depends on its caller."""

    def __iter__(self) -> Iterator[Any]:
        (form,) = super().__iter__()
        yield dataclasses.replace(form, limit=strategy.PlanItem(g.plan_asked))


def _nothing() -> None:
    """What Flask-Limiter guards."""


def _who() -> str:
    return cast(Asked, g.plan_asked).who


def _policy(_endpoint: str) -> str:
    return cast(Asked, g.plan_asked).policy


def _is_about_storage(record: logging.LogRecord) -> bool:
    """Whether a line of the extension is not about a single request."""
    return not record.getMessage().startswith("ratelimit ")


def _without_hooks() -> Flask:
    """An application as far as Flask-Limiter needs one to begin."""

    def ignore(_hook: Any) -> None:
        """Take a hook, and never call it."""

    hooks = dict.fromkeys(("before_request", "after_request", "teardown_request"), ignore)
    return cast(Flask, SimpleNamespace(config={}, extensions={}, **hooks))


def _refusal(asked: Asked) -> QuotaExceeded:
    counted = asked.counted
    assert counted is not None and counted.refused_by is not None  # noqa: S101 - it was refused
    if counted.refused_by == "calls":
        wait_seconds = seconds_to_day(counted)
        detail = f"The plan allows {asked.quota} calls a day."
    else:
        wait_seconds = seconds_to_room(counted, asked.rate)
        detail = f"The plan allows {asked.rate} {asked.policy} a minute."
    return QuotaExceeded(counted.refused_by, detail, wait_seconds, _headers(asked, wait_seconds))


def _headers(asked: Asked, wait_seconds: int) -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers-11: lists of RFC 9651."""
    counted = asked.counted
    assert counted is not None  # noqa: S101 - the callers looked
    policies, limits = [], []
    if asked.rate:
        policies.append(f'"{asked.policy}";q={asked.rate};w={MINUTE_SECONDS}')
        ends = wait_seconds if counted.refused_by == asked.policy else seconds_to_minute(counted)
        limits.append(f'"{asked.policy}";r={asked.rate_left(counted)};t={ends}')
    if asked.quota:
        policies.append(f'"calls";q={asked.quota};w={DAY_SECONDS}')
        limits.append(f'"calls";r={asked.calls_left(counted)};t={seconds_to_day(counted)}')
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(limits)}
