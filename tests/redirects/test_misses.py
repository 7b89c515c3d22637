"""What a process remembers of slugs that are no link's, and how soon it forgets."""

from __future__ import annotations

import time
from typing import Any

import pytest

from api.redirects import cache as caches
from api.redirects import store
from api.redirects.cache import EVICTION_PREFIX, Target, TargetCache
from api.redirects.service import RedirectService
from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.test_cache import a_target, within
from tests.redirects.visitor import Visitor


@pytest.fixture
def cache() -> TargetCache:
    return TargetCache(entries=3, synced_seconds=60, unsynced_seconds=0.2, stale_seconds=3600)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The slugs that the database is asked for."""
    slugs: list[str] = []
    read = store.get_target

    def note(session: Any, slot: int, domain: str, slug: str) -> Target | None:
        slugs.append(slug)
        return read(session, slot, domain, slug)

    monkeypatch.setattr(store, "get_target", note)
    return slugs


def put_missing(cache: TargetCache, key: str) -> None:
    cache.put_missing(key, cache.generation(key))


def test_a_miss_lives_shortly_and_a_little_longer_while_evictions_arrive(
    cache: TargetCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    put_missing(cache, "d/1")
    assert cache.is_missing("d/1")
    now += 0.25
    assert not cache.is_missing("d/1")

    cache.set_synced(True)
    put_missing(cache, "d/1")
    now += 4.9
    assert cache.is_missing("d/1")
    now += 0.2
    assert not cache.is_missing("d/1")


def test_a_miss_lives_a_second_at_most_without_evictions(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    patient = TargetCache(entries=3, synced_seconds=60, unsynced_seconds=30, stale_seconds=3600)
    put_missing(patient, "d/1")
    now += 1.1

    assert not patient.is_missing("d/1")


def test_an_eviction_ends_a_miss(cache: TargetCache) -> None:
    put_missing(cache, "d/1")
    put_missing(cache, "d/2")

    cache.evict([f"{EVICTION_PREFIX}d/1"])

    assert not cache.is_missing("d/1")
    assert cache.is_missing("d/2")


def test_a_miss_that_an_eviction_overtook_is_not_kept(cache: TargetCache) -> None:
    generation = cache.generation("d/1")

    cache.evict([f"{EVICTION_PREFIX}d/1"])
    cache.put_missing("d/1", generation)

    assert not cache.is_missing("d/1")


@pytest.mark.parametrize("synced", [True, False])
def test_a_change_of_the_connection_ends_all_misses(cache: TargetCache, synced: bool) -> None:
    cache.set_synced(not synced)
    put_missing(cache, "d/1")

    cache.set_synced(synced)

    assert not cache.is_missing("d/1")


def test_a_link_and_a_miss_exclude_each_other(cache: TargetCache) -> None:
    put_missing(cache, "d/1")
    cache.put("d/1", a_target(), cache.generation("d/1"))
    assert not cache.is_missing("d/1")

    put_missing(cache, "d/1")
    assert cache.get("d/1") is None


def test_misses_are_bounded_and_the_least_recently_used_goes_first(
    cache: TargetCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "_MISSES", 3)
    for number in range(3):
        put_missing(cache, f"d/{number}")
    cache.is_missing("d/0")

    put_missing(cache, "d/3")

    assert len(cache._misses) == 3
    assert [cache.is_missing(f"d/{number}") for number in range(4)] == [True, False, True, True]


def test_links_are_not_crowded_out_by_misses(cache: TargetCache) -> None:
    cache.put("d/1", a_target(), cache.generation("d/1"))
    for number in range(100):
        put_missing(cache, f"d/none-{number}")

    assert cache.get("d/1") is not None


@pytest.fixture
def synced(make_app: AppMaker, redis_url: str) -> Visitor:
    """A visitor of a process that hears of changes through Redis."""
    app = make_app()
    cache = app.extensions["signpost.services"][RedirectService]._cache
    assert within(5, lambda: cache._synced)
    return Visitor(app)


@pytest.fixture
def alone(make_app: AppMaker) -> Visitor:
    """A visitor of a process that hears of nothing."""
    return Visitor(make_app(REDIS_URL="", REDIRECT_CACHE_UNSYNCED_SECONDS="30"))


@pytest.mark.parametrize("process", ["synced", "alone"])
def test_an_unknown_slug_reaches_the_database_once(
    process: str, asked: list[str], request: pytest.FixtureRequest
) -> None:
    visitor: Visitor = request.getfixturevalue(process)

    statuses = [visitor.open("/no-such-slug").status_code for _ in range(20)]

    assert statuses == [404] * 20
    assert asked == ["no-such-slug"]


def test_a_created_link_answers_at_once_where_it_was_created(
    caller: Caller, visitor: Visitor
) -> None:
    for number in range(20):
        slug = f"soon-{caller.workspace_id}-{number}"
        assert visitor.open(f"/{slug}").status_code == 404
        assert visitor.follow(caller.create_link(slug=slug)).status_code == 302


def test_a_link_of_a_batch_answers_at_once(caller: Caller, visitor: Visitor) -> None:
    slugs = [f"batch-{caller.workspace_id}-{number}" for number in range(3)]
    assert [visitor.open(f"/{slug}").status_code for slug in slugs] == [404] * 3

    link = {"url": "https://example.com/"}
    operations = [{"op": "create", "link": link | {"slug": slug}} for slug in slugs]
    assert caller.post("/links/batch", {"operations": operations}).status_code < 300

    assert [visitor.open(f"/{slug}").status_code for slug in slugs] == [302] * 3


def test_a_creation_that_overtakes_a_miss_is_seen(
    caller: Caller, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visit reads that there is none, the link is made and told of, then the visit ends."""
    slug = f"race-{caller.workspace_id}"
    read = store.get_target

    def read_then_create(*args: Any) -> Target | None:
        monkeypatch.setattr(store, "get_target", read)
        target = read(*args)
        caller.create_link(slug=slug)
        return target

    monkeypatch.setattr(store, "get_target", read_then_create)

    assert visitor.open(f"/{slug}").status_code == 404
    assert visitor.open(f"/{slug}").status_code == 302


def test_a_created_link_answers_in_another_process(
    caller: Caller, synced: Visitor, asked: list[str]
) -> None:
    slug = f"told-{caller.workspace_id}"
    assert [synced.open(f"/{slug}").status_code for _ in range(2)] == [404] * 2
    assert asked == [slug]

    link = caller.create_link(slug=slug)

    assert within(0.5, lambda: synced.follow(link).status_code == 302)


def test_without_redis_a_created_link_answers_within_a_second(
    caller: Caller, alone: Visitor
) -> None:
    slug = f"untold-{caller.workspace_id}"
    assert alone.open(f"/{slug}").status_code == 404

    link = caller.create_link(slug=slug)

    assert within(1.5, lambda: alone.follow(link).status_code == 302)


def test_a_deleted_slug_that_is_used_again_answers(caller: Caller, visitor: Visitor) -> None:
    caller.patch(f"/workspaces/{caller.workspace_id}", {"reuse_deleted_slugs": True})
    slug = f"again-{caller.workspace_id}"
    link = caller.create_link(slug=slug)
    assert visitor.follow(link).status_code == 302
    caller.delete(f"/links/{link['id']}")
    assert visitor.follow(link).status_code == 410

    again = caller.create_link("https://example.com/again", slug=slug)

    assert visitor.follow(again).headers["Location"].endswith("/again")
