"""What a process remembers of links, and how it learns that they have changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import orjson
import pytest
import redis
from flask import Flask

from api.core.evictions import CHANNEL
from api.redirects import store
from api.redirects.cache import EVICTION_PREFIX, Target, TargetCache
from api.redirects.service import RedirectService
from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.visitor import Visitor


def a_target(number: int = 1) -> Target:
    return Target(
        slot=1,
        id=number,
        workspace_id=1,
        url=f"https://example.com/{number}",
        starts_at=None,
        expires_at=None,
        limited=False,
        password_hash=None,
        redirect_status=302,
        forward_query=False,
        enabled=True,
        deleted=False,
    )


@pytest.fixture
def cache() -> TargetCache:
    return TargetCache(entries=3, synced_seconds=60, unsynced_seconds=0.2, stale_seconds=3600)


def put(cache: TargetCache, key: str, target: Target | None = None) -> None:
    cache.put(key, target or a_target(), cache.generation(key))


def is_fresh(cache: TargetCache, key: str) -> bool:
    entry = cache.get(key)
    return entry is not None and time.monotonic() < entry.fresh_until


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_cache_holds_no_more_than_its_bound(cache: TargetCache) -> None:
    for number in range(10):
        put(cache, f"d/{number}", a_target(number))

    assert [cache.get(f"d/{number}") is not None for number in range(10)] == [False] * 7 + [
        True
    ] * 3


def test_least_recently_used_entry_goes_first(cache: TargetCache) -> None:
    for key in ("d/1", "d/2", "d/3"):
        put(cache, key)
    cache.get("d/1")

    put(cache, "d/4")

    assert cache.get("d/1") is not None
    assert cache.get("d/2") is None


def test_cache_takes_no_more_bytes_than_its_bound() -> None:
    bound = 100_000
    cache = TargetCache(
        entries=10_000, size_bytes=bound, synced_seconds=60, unsynced_seconds=60, stale_seconds=60
    )
    long = replace(a_target(), url="https://example.com/" + "x" * 8_000)

    for number in range(100):
        put(cache, f"d/{number}", long)
    assert 10 <= len(cache) <= 12
    assert bound * 0.8 < cache.size_bytes <= bound
    for number in range(100):
        put(cache, f"d/{number}")

    assert len(cache) == 100
    assert cache.size_bytes < bound
    for number in range(100):
        cache.put_missing(f"d/{number}", cache.generation(f"d/{number}"))
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_entry_that_is_put_again_is_counted_once(cache: TargetCache) -> None:
    put(cache, "d/1")
    size = cache.size_bytes

    put(cache, "d/1")
    put(cache, "d/1", replace(a_target(), url="https://example.com/more"))

    assert cache.size_bytes == size + len("more") - 1


def test_absent_is_put_only_where_there_is_nothing_and_room(cache: TargetCache) -> None:
    generations = cache.generations()
    for number in range(5):
        cache.put_absent(f"d/{number}", a_target(number), generations.of(f"d/{number}"))
    cache.put_absent("d/0", a_target(9), generations.of("d/0"))

    kept = [cache.get(f"d/{number}") for number in range(5)]
    assert [entry and entry.target.id for entry in kept] == [0, 1, 2, None, None]


def test_absent_that_was_read_before_an_eviction_is_not_kept(cache: TargetCache) -> None:
    generations = cache.generations()
    cache.evict([f"{EVICTION_PREFIX}d/1"])

    cache.put_absent("d/1", a_target(), generations.of("d/1"))

    assert cache.get("d/1") is None


def test_entry_lives_shortly_until_evictions_arrive(cache: TargetCache) -> None:
    put(cache, "d/1")
    assert is_fresh(cache, "d/1")

    time.sleep(0.25)
    assert not is_fresh(cache, "d/1")

    cache.set_synced(True)
    put(cache, "d/1")
    time.sleep(0.25)
    assert is_fresh(cache, "d/1")


def test_evicted_entry_is_stale_and_still_there(cache: TargetCache) -> None:
    put(cache, "d/1")
    put(cache, "d/2")

    cache.evict([f"{EVICTION_PREFIX}d/1", "domain:d", "d/2"])

    assert not is_fresh(cache, "d/1")
    assert cache.get("d/1") is not None
    assert is_fresh(cache, "d/2")


def test_what_was_read_before_an_eviction_is_not_kept(cache: TargetCache) -> None:
    generation = cache.generation("d/1")

    cache.evict([f"{EVICTION_PREFIX}d/1"])
    cache.put("d/1", a_target(), generation)

    assert cache.get("d/1") is None


def test_eviction_of_another_link_lets_what_was_read_be_kept(cache: TargetCache) -> None:
    generations = {key: cache.generation(key) for key in ("d/1", "d/2")}

    cache.evict([f"{EVICTION_PREFIX}d/other{number}" for number in range(3)])
    for key, generation in generations.items():
        cache.put(key, a_target(), generation)

    # The two share a stripe with one of three others once in some two hundred runs.
    assert is_fresh(cache, "d/1") or is_fresh(cache, "d/2")


@pytest.mark.parametrize("synced", [True, False])
def test_change_of_the_connection_makes_entries_stale_soon(
    cache: TargetCache, synced: bool
) -> None:
    cache.set_synced(not synced)
    put(cache, "d/1")
    generation = cache.generation("d/2")

    cache.set_synced(synced)
    cache.put("d/2", a_target(), generation)

    assert cache.get("d/2") is None
    assert within(0.5, lambda: not is_fresh(cache, "d/1"))


def test_retained_entry_is_fresh_for_a_moment_unless_evicted(cache: TargetCache) -> None:
    put(cache, "d/1")
    cache.evict([f"{EVICTION_PREFIX}d/1"])
    entry = cache.get("d/1")
    assert entry is not None

    cache.retain("d/1", entry, 0.1)
    assert is_fresh(cache, "d/1")
    cache.evict([f"{EVICTION_PREFIX}d/1"])
    cache.retain("d/1", entry, 0.1)

    assert not is_fresh(cache, "d/1")


def test_second_visit_asks_no_database(
    caller: Caller, make_app: AppMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without Redis: there, what was published of the creation may arrive after the first visit.
    visitor = Visitor(make_app(REDIS_URL=""))
    link = caller.create_link()
    visitor.follow(link)

    asked = mock.Mock()
    monkeypatch.setattr(store, "get_target", asked)

    assert visitor.follow(link).status_code == 302
    asked.assert_not_called()


def test_read_that_an_eviction_overtook_is_not_kept(
    app: Flask, caller: Caller, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visit reads the old target, the change commits and evicts, then the visit ends."""
    link = caller.create_link("https://example.com/old")
    read = store.get_target

    def read_then_change(*args: Any) -> Target | None:
        monkeypatch.setattr(store, "get_target", read)
        target = read(*args)
        caller.patch(f"/links/{link['id']}", {"url": "https://example.com/new"})
        return target

    monkeypatch.setattr(store, "get_target", read_then_change)

    assert visitor.follow(link).headers["Location"].endswith("/old")
    assert visitor.follow(link).headers["Location"].endswith("/new")


def test_service_holds_no_more_links_than_the_setting(caller: Caller, make_app: AppMaker) -> None:
    app = make_app(REDIRECT_CACHE_ENTRIES="2")
    links = [caller.create_link() for _ in range(5)]

    for link in links:
        assert Visitor(app).follow(link).status_code == 302

    cache = app.extensions["signpost.services"][RedirectService]._cache
    assert len(cache._entries) == 2


@pytest.fixture
def synced(make_app: AppMaker, redis_url: str, app: Flask) -> Flask:
    """A second process, which hears of changes through Redis."""
    other = make_app()
    for application in (app, other):
        cache = application.extensions["signpost.services"][RedirectService]._cache
        assert within(5, lambda: cache._synced)  # noqa: B023
    return other


def test_change_reaches_another_process_at_once(
    caller: Caller, visitor: Visitor, synced: Flask
) -> None:
    link = caller.create_link("https://example.com/old")
    other = Visitor(synced)
    assert other.follow(link).headers["Location"].endswith("/old")

    caller.patch(f"/links/{link['id']}", {"url": "https://example.com/new"})

    assert within(0.5, lambda: other.follow(link).headers["Location"].endswith("/new"))


def test_deletion_reaches_another_process_at_once(caller: Caller, synced: Flask) -> None:
    link = caller.create_link()
    other = Visitor(synced)
    assert other.follow(link).status_code == 302

    caller.delete(f"/links/{link['id']}")

    assert within(0.5, lambda: other.follow(link).status_code == 410)


def test_released_domain_reaches_another_process_at_once(caller: Caller, synced: Flask) -> None:
    host = f"synced-{time.monotonic_ns()}.example"
    domain = caller.post("/domains", {"host": host}).get_json()
    link = caller.create_link(domain=host)
    other = Visitor(synced, host=host)
    assert other.follow(link).status_code == 302

    caller.delete(f"/domains/{domain['id']}")

    assert within(0.5, lambda: other.follow(link).status_code == 404)


@pytest.mark.parametrize("published", [b"not json", b"7", b"null", b'{"a":1}', b"[1]", b"\xff"])
def test_other_messages_on_the_channel_disturb_nothing(
    caller: Caller, synced: Flask, redis_url: str, published: bytes
) -> None:
    link = caller.create_link()
    other = Visitor(synced)
    assert other.follow(link).status_code == 302

    with redis.Redis.from_url(redis_url) as client:
        client.publish(CHANNEL, published)
        client.publish(CHANNEL, orjson.dumps(["unknown:thing"]))
    caller.delete(f"/links/{link['id']}")

    assert within(0.5, lambda: other.follow(link).status_code == 410)


def test_changes_arrive_within_seconds_without_redis(caller: Caller, make_app: AppMaker) -> None:
    alone = Visitor(make_app(REDIS_URL="", REDIRECT_CACHE_UNSYNCED_SECONDS="0.3"))
    link = caller.create_link("https://example.com/old")
    assert alone.follow(link).headers["Location"].endswith("/old")

    caller.patch(f"/links/{link['id']}", {"url": "https://example.com/new"})

    assert within(0.6, lambda: alone.follow(link).headers["Location"].endswith("/new"))
