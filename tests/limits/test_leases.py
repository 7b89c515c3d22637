"""What busy callers are let through in advance: never more than the plan, and little is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.core.decisions import LimitDecisions
from api.core.errors import TooManyRequests
from api.core.principal import Principal
from api.limits.limiter import PlanLimiter
from api.limits.plans import WorkspacePlans
from config.plans import Plan
from tests.limits.test_rates import _not_at_the_turn_of_a_minute  # noqa: F401 - a fixture
from tests.redirects.shared_redis import SharedRedis

RATE = 2_000
PLAN = Plan("busy", reads_per_minute=RATE, api_calls_per_day=RATE * 10)


class OnePlan(WorkspacePlans):
    """Of every workspace."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def of(self, workspace: int) -> Plan:
        return self._plan


MakeProcess = Callable[..., PlanLimiter]


@pytest.fixture
def process(own_redis: SharedRedis) -> MakeProcess:
    """Makes what one process counts with."""

    def process(plan: Plan = PLAN) -> PlanLimiter:
        return PlanLimiter(OnePlan(plan), own_redis.url, 0.5, LimitDecisions())

    return process


def a_caller() -> Principal:
    return Principal(time.time_ns(), 7, frozenset())


def let_through(limiter: PlanLimiter, caller: Principal, times: int) -> int:
    """How many of so many requests are."""
    passed = 0
    for _ in range(times):
        try:
            limiter.check(caller, False)
            passed += 1
        except TooManyRequests:
            pass
    return passed


def asked(redis: SharedRedis) -> int:
    """How many questions Redis was asked so far."""
    stats: dict[str, dict[str, int]] = redis.client.info("commandstats")  # type: ignore[assignment]
    return stats.get("cmdstat_evalsha", {}).get("calls", 0)


def test_a_busy_caller_asks_redis_seldom(process: MakeProcess, own_redis: SharedRedis) -> None:
    limiter, caller = process(), a_caller()
    let_through(limiter, caller, 1)
    before = asked(own_redis)

    assert let_through(limiter, caller, 1_000) == 1_000

    assert asked(own_redis) - before < 50


def test_what_is_told_goes_down_by_one_each_time(process: MakeProcess) -> None:
    limiter, caller = process(), a_caller()
    told = [limiter.check(caller, False)["RateLimit"] for _ in range(300)]
    reads = [int(fields.partition("r=")[2].partition(";")[0]) for fields in told]
    calls = [int(fields.rpartition("r=")[2].partition(";")[0]) for fields in told]
    assert reads == list(range(RATE - 1, RATE - 301, -1))
    assert calls == list(range(RATE * 10 - 1, RATE * 10 - 301, -1))


def test_one_process_alone_uses_all_of_the_rate(process: MakeProcess) -> None:
    assert let_through(process(), a_caller(), RATE + 50) == RATE


def test_many_processes_pass_no_limit_and_lose_little(process: MakeProcess) -> None:
    caller = a_caller()
    processes = [process() for _ in range(4)]
    ready = threading.Barrier(8)

    def go(number: int) -> int:
        ready.wait()
        return let_through(processes[number % 4], caller, RATE // 2)

    with ThreadPoolExecutor(8) as pool:
        passed = sum(pool.map(go, range(8)))

    assert RATE * 0.9 < passed <= RATE


def test_who_comes_seldom_takes_nothing_in_advance(
    process: MakeProcess, own_redis: SharedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.limits import leases

    limiter, caller = process(), a_caller()
    monkeypatch.setattr(leases, "_BUSY_SECONDS", 0.0)  # nobody is busy
    before = asked(own_redis)
    assert let_through(limiter, caller, 20) == 20
    assert asked(own_redis) - before == 20


def test_what_was_taken_ends_with_the_minute(
    process: MakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.limits import leases

    limiter, caller = process(), a_caller()
    let_through(limiter, caller, 40)
    (lease,) = limiter._leases._leases.values()
    let_through(limiter, caller, 1)
    assert lease.left > 0

    steady = time.monotonic
    monkeypatch.setattr(leases.time, "monotonic", lambda: steady() + 60)
    held = lease.counted
    let_through(limiter, caller, 1)
    assert lease.counted is not held


def test_memory_is_bounded(process: MakeProcess) -> None:
    from api.limits import leases
    from api.limits.counts import ask

    made = leases.Leases()
    for number in range(leases._MOST + 100):
        made.begin(ask(PLAN, Principal(number, 1, frozenset()), writes=False))
    assert len(made._leases) == leases._MOST
