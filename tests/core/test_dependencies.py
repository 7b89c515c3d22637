"""What a process knows of its dependencies, and that its log is told of each change once."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from api.core import dependencies as module
from api.core.dependencies import Dependencies, Dependency
from api.core.seldom import Seldom


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that a dependency's clocks say."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.time, "time", lambda: now[0] + 5000)
    return now


def test_each_change_is_told_once(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    known = Dependencies()
    queue = known.of("queue")
    assert known.states() == []
    queue.answered()
    assert known.states() == [("queue", True, 6000.0, "")]
    assert caplog.records == []  # that all is well is no news

    queue.without("clicks wait")
    for _ in range(1000):
        clock[0] += 0.01
        queue.failed(ConnectionError("refused\nand more"))
    assert known.states() == [("queue", False, pytest.approx(6000.01), "refused")]
    clock[0] += 2.0
    for _ in range(1000):
        queue.answered()

    assert known.states() == [("queue", True, pytest.approx(6012.0), "")]
    assert caplog.messages == [
        "queue is down: refused; clicks wait",
        "queue is up again, after 12.0 s",
    ]
    down, up = caplog.records
    assert (down.levelno, up.levelno) == (logging.WARNING, logging.WARNING)
    assert vars(up)["seconds"] == pytest.approx(12.0)


def test_one_answer_among_failures_changes_nothing(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    one = Dependency("database")
    for _ in range(500):
        one.failed(TimeoutError())
        clock[0] += 0.1
        one.answered()
    assert caplog.messages == ["database is down: TimeoutError"]


def test_one_that_nobody_asks_any_more_is_not_said_to_be_down(clock: list[float]) -> None:
    known = Dependencies()
    known.of("redis").failed("refused")
    clock[0] += 59
    assert [state.up for state in known.states()] == [False]
    clock[0] += 2
    assert known.states() == []
    known.of("redis").failed("refused")
    assert [state.up for state in known.states()] == [False]


def test_many_who_find_out_at_once_tell_once(caplog: pytest.LogCaptureFixture) -> None:
    one = Dependency("redis")
    barrier = threading.Barrier(16)

    def fail() -> None:
        barrier.wait()
        for _ in range(200):
            one.failed("gone")

    threads = [threading.Thread(target=fail) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert caplog.messages == ["redis is down: gone"]


def test_what_is_at_two_places_is_known_apart() -> None:
    known = Dependencies()
    known.of("redis", "one").failed("gone")
    known.of("redis", "other").answered()
    assert known.of("redis", "one") is known.of("redis", "one")
    assert sorted(state.up for state in known.states()) == [False, True]


def test_what_comes_by_the_hundred_is_told_with_its_number(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now: Any = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    seldom = Seldom(logging.getLogger("seldom"), "the pool is exhausted: %s")
    for _ in range(300):
        seldom.tell("all 5 are in use")
        now[0] += 0.05
    assert caplog.messages == [
        "the pool is exhausted: all 5 are in use",
        "the pool is exhausted: all 5 are in use (199 more since this was told last)",
    ]
