"""Visits while Redis, PostgreSQL or both are away, and when they are back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.engine import make_url

from api.core.breaker import RedisBreaker
from api.core.evictions import Evictions
from api.redirects.cache import TargetCache
from api.redirects.service import RedirectService
from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.proxy import Relay
from tests.redirects.shared_redis import SharedRedis
from tests.redirects.test_cache import within
from tests.redirects.visitor import Visitor

TIMEOUT = 0.3


@pytest.fixture
def redis_relay(shared: SharedRedis) -> Iterator[Relay]:
    with Relay("127.0.0.1", shared.port) as relay:
        yield relay


@pytest.fixture
def database_relay(database_url: str) -> Iterator[Relay]:
    url = make_url(database_url)
    with Relay(url.host or "127.0.0.1", url.port or 5432) as relay:
        yield relay


@pytest.fixture
def remote(
    make: AppMaker,
    shared: SharedRedis,
    redis_relay: Relay,
    database_relay: Relay,
    database_url: str,
) -> Callable[..., Visitor]:
    """Makes visitors of processes whose Redis and database can be taken away."""
    url = make_url(database_url).set(host="127.0.0.1", port=database_relay.port)

    def make_remote(**changes: str) -> Visitor:
        settings = {
            "DATABASE_URL": url.render_as_string(hide_password=False),
            "REDIS_URL": shared.at(redis_relay.port),
            "REDIS_TIMEOUT_SECONDS": "0.2",
            "REDIRECT_REDIS_TIMEOUT_SECONDS": str(TIMEOUT),
            "DB_CONNECT_TIMEOUT_SECONDS": "2",
            "DB_POOL_TIMEOUT_SECONDS": "0.3",
        }
        return Visitor(make(**(settings | changes)))

    return make_remote


def cache_of(app: Flask) -> TargetCache:
    cache: TargetCache = app.extensions["signpost.services"][RedirectService]._cache
    return cache


def is_synced(*visitors: Visitor) -> bool:
    return within(5, lambda: all(cache_of(visitor.app).synced for visitor in visitors))


def share(shared: SharedRedis, link: dict[str, Any], visitor: Visitor) -> None:
    key = f"sign.test/{link['slug']}"
    shared.let_time_pass(key)
    assert visitor.follow(link).status_code == 302
    assert shared.holds_copy(key)


def places(visitor: Visitor, link: dict[str, Any]) -> str:
    return str(visitor.follow(link).headers.get("Location", ""))


def test_redis_that_hangs_costs_one_timeout_and_not_one_per_visit(
    owner: Caller,
    remote: Callable[..., Visitor],
    redis_relay: Relay,
    caplog: pytest.LogCaptureFixture,
) -> None:
    visitor = remote()
    links = [owner.create_link() for _ in range(20)]
    assert visitor.follow(links.pop()).status_code == 302
    redis_relay.hang()
    caplog.clear()

    started = time.monotonic()
    assert [visitor.follow(link).status_code for link in links] == [302] * len(links)
    took = time.monotonic() - started

    # One wait more where the visits take more than a second.
    assert TIMEOUT <= took < 2 * TIMEOUT + 1
    assert caplog.text.count("redis is down") == 1
    assert "no links are shared between processes" in caplog.text


def test_redis_that_is_gone_is_told_of_once_and_so_is_its_return(
    owner: Caller,
    remote: Callable[..., Visitor],
    redis_relay: Relay,
    caplog: pytest.LogCaptureFixture,
) -> None:
    visitor = remote()
    redis_relay.cut()
    ends = time.monotonic() + 2.5
    while time.monotonic() < ends:
        assert visitor.follow(owner.create_link()).status_code == 302
        time.sleep(0.05)
    assert caplog.text.count("redis is down") == 1

    redis_relay.restore()

    said = "redis is up again"

    def is_back() -> bool:
        assert visitor.follow(owner.create_link()).status_code == 302
        return said in caplog.text

    assert within(5, is_back)
    assert caplog.text.count(said) == 1


def test_a_process_that_does_not_know_a_link_finds_it_in_redis_without_a_database(
    owner: Caller, remote: Callable[..., Visitor], shared: SharedRedis, database_relay: Relay
) -> None:
    link = owner.create_link("https://example.com/kept")
    share(shared, link, remote(REDIRECT_SHARED_SECONDS="0.5"))
    database_relay.cut()

    assert places(remote(), link) == "https://example.com/kept"
    time.sleep(0.6)  # past the life of the copy
    late = remote()

    assert [places(late, link) for _ in range(3)] == ["https://example.com/kept"] * 3


def test_without_redis_and_database_what_is_known_is_served(
    owner: Caller,
    remote: Callable[..., Visitor],
    shared: SharedRedis,
    redis_relay: Relay,
    database_relay: Relay,
) -> None:
    known, unknown = owner.create_link(), owner.create_link()
    visitor = remote(REDIRECT_CACHE_SECONDS="0.1", REDIRECT_CACHE_UNSYNCED_SECONDS="0.1")
    assert is_synced(visitor)
    share(shared, known, visitor)
    redis_relay.cut()
    database_relay.cut()
    time.sleep(0.3)

    for _ in range(5):
        assert places(visitor, known) == known["url"]
        assert visitor.follow(unknown).status_code == 503
        time.sleep(0.05)


def test_what_is_older_than_the_setting_is_not_served(
    owner: Caller, remote: Callable[..., Visitor], redis_relay: Relay, database_relay: Relay
) -> None:
    link = owner.create_link()
    visitor = remote(REDIRECT_CACHE_UNSYNCED_SECONDS="0.1", REDIRECT_STALE_SECONDS="1.5")
    assert is_synced(visitor)
    redis_relay.cut()
    assert within(5, lambda: not cache_of(visitor.app).synced)
    assert visitor.follow(link).status_code == 302
    database_relay.cut()

    time.sleep(0.3)
    assert visitor.follow(link).status_code == 302
    time.sleep(1.5)
    assert visitor.follow(link).status_code == 503


def test_when_both_are_back_what_was_changed_meanwhile_is_seen(
    owner: Caller,
    remote: Callable[..., Visitor],
    shared: SharedRedis,
    redis_relay: Relay,
    database_relay: Relay,
) -> None:
    link = owner.create_link("https://example.com/old")
    visitor = remote()
    assert is_synced(visitor)
    share(shared, link, visitor)
    redis_relay.cut()
    database_relay.cut()
    owner.patch(f"/links/{link['id']}", {"url": "https://example.com/new"})
    time.sleep(1.2)
    assert places(visitor, link).endswith("/old")

    redis_relay.restore()
    database_relay.restore()

    assert within(5, lambda: places(visitor, link).endswith("/new"))
    assert is_synced(visitor)
    assert places(visitor, link).endswith("/new")


def test_what_a_writer_could_not_evict_it_evicts_when_redis_is_back(
    caller: Caller,
    make: AppMaker,
    shared: SharedRedis,
    redis_relay: Relay,
    remote: Callable[..., Visitor],
) -> None:
    """The writer alone does not reach Redis; the others hear nothing, and hold what they know."""
    apart = remote()
    writer = Caller(apart.app, caller.identity, caller.workspace_id, caller.key)
    reader = Visitor(make())
    assert is_synced(apart, reader)
    link = writer.create_link("https://example.com/old")
    share(shared, link, reader)
    redis_relay.cut()

    assert writer.patch(f"/links/{link['id']}", {"url": "https://example.com/new"}).status_code
    assert places(apart, link).endswith("/new")
    assert places(reader, link).endswith("/old")
    redis_relay.restore()

    assert within(5, lambda: places(reader, link).endswith("/new"))
    assert not shared.holds_copy(f"sign.test/{link['slug']}")
    assert places(Visitor(make()), link).endswith("/new")


def test_a_redis_that_comes_back_with_old_copies_fools_nobody(
    owner: Caller, make: AppMaker, shared: SharedRedis
) -> None:
    link = owner.create_link("https://example.com/old")
    reader = Visitor(make())
    assert is_synced(reader, Visitor(owner.app))
    share(shared, link, reader)
    copy = shared.held(f"sign.test/{link['slug']}")
    shared.kill()
    owner.patch(f"/links/{link['id']}", {"url": "https://example.com/new"})
    time.sleep(1.1)  # without evictions an entry lives a second
    assert places(reader, link).endswith("/new")

    shared.restart()

    assert shared.held(f"sign.test/{link['slug']}") in (copy, b"-")
    assert is_synced(reader)
    for _ in range(3):
        assert places(reader, link).endswith("/new")
        assert places(Visitor(make()), link).endswith("/new")


def test_breaker_lets_one_find_out_while_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = RedisBreaker("", "nothing is asked")
    asked: list[int] = []

    def fail() -> int:
        asked.append(1)
        breaker.ask(lambda: asked.append(2))  # who comes meanwhile
        raise OSError("away")

    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert breaker.ask(fail) is None
    asked.clear()
    assert breaker.ask(fail) is None
    assert asked == []
    now += 1.1
    assert breaker.ask(fail) is None
    assert asked == [1]
    now += 1.1

    assert breaker.ask(lambda: 7) == 7
    assert breaker.ask(lambda: 8) == 8


def test_connection_that_was_made_anew_at_once_has_missed_something(shared: SharedRedis) -> None:
    synced: list[bool] = []
    listener = Evictions(shared.url, 0.5)
    listener.on_sync(synced.append)
    listener.start()
    try:
        assert within(5, lambda: synced[-1:] == [True])
        synced.clear()
        shared.client.client_kill_filter(_type="pubsub")
        assert within(5, lambda: synced[-1:] == [True])
        assert False in synced
    finally:
        listener.stop()
