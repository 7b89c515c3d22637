"""Limits go on in the process while Redis is away, and are shared again when it is back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.caller import Caller
from tests.limits.conftest import AppMaker, at
from tests.limits.test_rates import _not_at_the_turn_of_a_minute  # noqa: F401 - a fixture
from tests.redirects.shared_redis import SharedRedis

CallerMaker = Callable[..., Caller]


@pytest.fixture
def away(own_redis: SharedRedis) -> Iterator[SharedRedis]:
    """A Redis that a test may end."""
    yield own_redis
    if own_redis._server._process is not None and own_redis._server._process.poll() is not None:
        own_redis.restart()


def test_without_redis_limits_are_counted_in_the_process(
    caller_of: CallerMaker, make: AppMaker
) -> None:
    caller = caller_of("tiny", make(REDIS_URL=""))
    answers = [caller.get("/links") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert '"reads";r=4' in answers[0].headers["RateLimit"]
    assert '"calls";r=99' in answers[0].headers["RateLimit"]
    days = caller_of("days", make(REDIS_URL=""))
    assert [days.get("/links").status_code for _ in range(4)] == [200] * 3 + [429]


def test_redis_goes_and_comes_back(
    caller_of: CallerMaker,
    make: AppMaker,
    away: SharedRedis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    one = caller_of("tiny")
    other = at(one, make())
    for caller in (one, other):
        assert caller.get("/links").status_code == 200
    away.kill()

    # Each process begins to count for itself, and says so once.
    for caller in (one, other):
        answers = [caller.get("/links").status_code for _ in range(7)]
        assert answers == [200] * 5 + [429] * 2
    lines = [record for record in caplog.records if record.name == "flask-limiter"]
    assert [line.getMessage() for line in lines] == [
        "Rate limit storage unreachable - falling back to in-memory storage"
    ] * 2
    caplog.clear()

    away.restart()
    deadline = time.monotonic() + 40
    while caplog.text.count("Rate limit storage recovered") < 2:
        assert time.monotonic() < deadline
        for caller in (one, other):
            caller.get("/links")
        time.sleep(0.2)
    stranger = one.with_scopes("links:read")
    answers = [at(stranger, each.app).get("/links").status_code for each in (one, other) * 3]
    assert answers == [200] * 5 + [429]


def test_requests_that_find_out_at_the_same_moment_are_all_answered(
    caller_of: CallerMaker, away: SharedRedis
) -> None:
    caller = caller_of("days")
    assert caller.get("/links").status_code == 200
    away.kill()
    answers: list[int] = []

    def ask() -> None:
        answers.append(caller.get("/links").status_code)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # The process begins at nothing, and counts by the moment: never an error, never all of them.
    assert set(answers) <= {200, 429}
    assert 3 <= answers.count(200) < 12
