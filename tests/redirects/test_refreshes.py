"""Links that are asked for are read again before their life ends, and only those."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from api.redirects import store
from api.redirects.cache import Entry, Target, TargetCache
from api.redirects.refreshes import Refreshes
from api.redirects.service import RedirectService
from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.test_cache import a_target, within
from tests.redirects.visitor import Visitor

LIFE = 2.0


@pytest.fixture
def app_of_short_life(make_app: AppMaker) -> Flask:
    """An application whose entries live shortly."""
    return make_app(REDIS_URL="", REDIRECT_CACHE_UNSYNCED_SECONDS=str(LIFE))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads in which the database is asked for a link."""
    threads: list[str] = []
    read = store.get_target

    def note(*arguments: Any) -> Target | None:
        threads.append(threading.current_thread().name)
        return read(*arguments)

    monkeypatch.setattr(store, "get_target", note)
    return threads


def cache_of(app: Flask) -> TargetCache:
    cache: TargetCache = app.extensions["signpost.services"][RedirectService]._cache
    return cache


def test_a_visit_late_in_the_life_renews_the_entry_in_the_background(
    caller: Caller, app_of_short_life: Flask, reads: list[str]
) -> None:
    visitor = Visitor(app_of_short_life)
    link = caller.create_link()
    visitor.follow(link)
    assert len(reads) == 1
    key = f"sign.test/{link['slug']}"
    first = cache_of(app_of_short_life).get(key)
    assert first is not None
    time.sleep(max(0, first.renew_from - time.monotonic()))

    for _ in range(5):
        assert visitor.follow(link).status_code == 302

    def is_renewed() -> bool:
        entry = cache_of(app_of_short_life).get(key)
        return entry is not None and entry.fresh_until > first.fresh_until

    assert within(1, is_renewed)
    # Of five visits in the last part of a life one renews, and none reads for itself.
    assert len(reads) == 2
    assert reads[1] != reads[0]


def test_a_visit_early_in_the_life_renews_nothing(
    caller: Caller, app_of_short_life: Flask, reads: list[str]
) -> None:
    visitor = Visitor(app_of_short_life)
    link = caller.create_link()

    for _ in range(20):
        visitor.follow(link)

    time.sleep(0.1)
    assert len(reads) == 1


def test_what_nobody_asks_for_is_not_read_again(
    caller: Caller, app_of_short_life: Flask, reads: list[str]
) -> None:
    Visitor(app_of_short_life).follow(caller.create_link())

    time.sleep(LIFE * 2)

    assert len(reads) == 1


def test_a_renewed_target_is_told_of(caller: Caller, app_of_short_life: Flask) -> None:
    told: list[tuple[str, Entry]] = []
    cache_of(app_of_short_life).on_put(lambda key, entry: told.append((key, entry)))
    redirects = app_of_short_life.extensions["signpost.services"][RedirectService]
    link = caller.create_link()
    key = f"sign.test/{link['slug']}"
    Visitor(app_of_short_life).follow(link)

    redirects.refresh_soon(key)

    assert within(1, lambda: len(told) == 2)
    assert [name for name, _ in told] == [key, key]
    assert told[1][1].fresh_until > told[0][1].fresh_until


def test_what_an_eviction_overtook_is_not_told_of() -> None:
    cache = TargetCache(entries=3, synced_seconds=60, unsynced_seconds=60, stale_seconds=60)
    told: list[str] = []
    cache.on_put(lambda key, entry: told.append(key))
    generation = cache.generation("d/1")
    cache.evict(["link:d/1"])

    cache.put("d/1", a_target(), generation)
    cache.put("d/2", a_target(), cache.generation("d/2"))

    assert told == ["d/2"]


@pytest.fixture
def held() -> threading.Event:
    return threading.Event()


@pytest.fixture
def slow(held: threading.Event) -> tuple[Refreshes, list[str], Callable[[], int]]:
    """Refreshes that wait for `held`; the keys begun, and how many run at present."""
    begun: list[str] = []
    ended: list[str] = []

    def refresh(key: str) -> None:
        begun.append(key)
        held.wait(5)
        ended.append(key)

    return Refreshes(refresh), begun, lambda: len(begun) - len(ended)


def test_a_key_is_refreshed_once_at_a_time(
    slow: tuple[Refreshes, list[str], Callable[[], int]], held: threading.Event
) -> None:
    refreshes, begun, running = slow
    for _ in range(100):
        refreshes.soon("d/1")
    assert within(1, lambda: begun == ["d/1"])

    held.set()
    assert within(1, lambda: running() == 0)
    refreshes.soon("d/1")

    assert within(1, lambda: begun == ["d/1", "d/1"])


def test_only_some_refreshes_run_at_once_and_all_come_to_an_end(
    slow: tuple[Refreshes, list[str], Callable[[], int]], held: threading.Event
) -> None:
    refreshes, begun, running = slow
    started = time.monotonic()
    for number in range(50):
        refreshes.soon(f"d/{number}")
    assert time.monotonic() - started < 0.5
    time.sleep(0.1)
    assert running() == 4

    held.set()

    assert within(2, lambda: len(begun) == 50)
    assert within(1, lambda: running() == 0)


def test_a_refresh_that_fails_disturbs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    def refresh(key: str) -> None:
        if key == "d/bad":
            raise RuntimeError("no luck")
        done.append(key)

    refreshes = Refreshes(refresh)
    for key in ("d/bad", "d/1", "d/bad", "d/2"):
        refreshes.soon(key)

    assert within(1, lambda: sorted(done) == ["d/1", "d/2"])
    refreshes.soon("d/bad")
    assert within(1, lambda: caplog.text.count("could not be refreshed") >= 2)
