"""Of many who want the same link at the same time, one asks the database."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from api.core.errors import Unavailable
from api.core.flights import Flights
from api.redirects import store
from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.visitor import Visitor

VISITORS = 50


def at_once(count: int, work: Callable[[], Any]) -> list[Any]:
    """What `count` threads come back with, which begin in the same moment."""
    barrier = threading.Barrier(count)
    results: list[Any] = []

    def run() -> None:
        barrier.wait(10)
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


@pytest.fixture
def fresh(make_app: AppMaker) -> Flask:
    """A process that knows no link yet."""
    return make_app(REDIS_URL="", REDIRECT_CACHE_UNSYNCED_SECONDS="30")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the database is asked for which slug; it takes its time."""
    counts: Counter[str] = Counter()
    read = store.get_target

    def note(session: Any, slot: int, domain: str, slug: str) -> Any:
        counts[slug] += 1
        time.sleep(0.2)
        return read(session, slot, domain, slug)

    monkeypatch.setattr(store, "get_target", note)
    return counts


def test_simultaneous_visitors_of_an_unknown_link_cost_one_query(
    caller: Caller, fresh: Flask, asked: Counter[str]
) -> None:
    link = caller.create_link("https://example.com/once")

    answers = at_once(VISITORS, lambda: Visitor(fresh).follow(link))

    assert [answer.status_code for answer in answers] == [302] * VISITORS
    assert {answer.headers["Location"] for answer in answers} == {"https://example.com/once"}
    assert asked[link["slug"]] == 1


def test_simultaneous_visitors_of_no_link_cost_one_query(fresh: Flask, asked: Counter[str]) -> None:
    answers = at_once(VISITORS, lambda: Visitor(fresh).open("/nobody-made-this"))

    assert [answer.status_code for answer in answers] == [404] * VISITORS
    assert asked["nobody-made-this"] == 1


def test_all_are_told_the_error(
    caller: Caller, fresh: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = caller.create_link()
    tries: list[int] = []

    def fail(*arguments: Any) -> Any:
        tries.append(1)
        time.sleep(0.2)
        raise Unavailable("The database does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(store, "get_target", fail)
        answers = at_once(VISITORS, lambda: Visitor(fresh).follow(link))

    assert [answer.status_code for answer in answers] == [503] * VISITORS
    assert len(tries) == 1
    assert Visitor(fresh).follow(link).status_code == 302


def test_who_comes_after_a_change_does_not_join_a_flight_from_before(
    caller: Caller, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = caller.create_link("https://example.com/old")
    read, entered, go_on = store.get_target, threading.Event(), threading.Event()

    def hold(*arguments: Any) -> Any:
        target = read(*arguments)
        if not entered.is_set():
            entered.set()
            go_on.wait(10)
        return target

    monkeypatch.setattr(store, "get_target", hold)
    early: list[str] = []
    thread = threading.Thread(
        target=lambda: early.append(Visitor(app).follow(link).headers["Location"])
    )
    thread.start()
    assert entered.wait(5)
    caller.patch(f"/links/{link['id']}", {"url": "https://example.com/new"})

    late = Visitor(app).follow(link).headers["Location"]
    go_on.set()
    thread.join(10)

    assert late == "https://example.com/new"
    assert early == ["https://example.com/old"]
    assert Visitor(app).follow(link).headers["Location"] == "https://example.com/new"


def test_others_begin_again_when_who_flew_was_killed() -> None:
    flights: Flights[int] = Flights()
    killed = threading.Event()

    def work() -> int:
        if not killed.is_set():
            killed.set()
            time.sleep(0.1)
            raise SystemExit  # what greenlets are killed with is no Exception either
        return 7

    def fly() -> int | None:
        try:
            return flights.run("key", work)
        except SystemExit:
            return None

    assert sorted(at_once(10, fly), key=str) == [7] * 9 + [None]
