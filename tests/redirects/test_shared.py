"""Links that processes share through Redis: what is kept there, and what is not believed."""

from __future__ import annotations

import time
from typing import Any, cast

import orjson
import pytest
from flask import Flask

from api.core.copies import PREFIX, SharedCopies
from api.core.epochs import confirm_epoch
from api.redirects import store
from api.redirects.cache import Target
from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.shared_redis import SharedRedis, name_of
from tests.redirects.test_cache import within
from tests.redirects.visitor import Visitor


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


def key_of(link: dict[str, Any]) -> str:
    return f"{link['domain']}/{link['slug']}"


def share(shared: SharedRedis, link: dict[str, Any], app: Flask) -> bytes:
    """Have a link shared by a process; what Redis then holds."""
    shared.let_time_pass(key_of(link))
    assert Visitor(app).follow(link).status_code == 302
    held = shared.held(key_of(link))
    assert held not in (None, b"-")
    return held or b""


def test_a_link_that_one_process_read_is_known_to_all(
    owner: Caller, make: AppMaker, shared: SharedRedis, asked: list[str]
) -> None:
    link = owner.create_link(
        "https://example.com/ä?b=1",
        redirect_status=307,
        forward_query=True,
        expires_at="2090-01-02T03:04:05.678901Z",
        starts_at="2020-01-02T03:04:05.678901Z",
    )
    shared.let_time_pass(key_of(link))
    assert Visitor(make()).follow(link).status_code == 307
    asked.clear()

    response = Visitor(make()).open(f"/{link['slug']}?c=2")

    assert asked == []
    assert response.status_code == 307
    assert response.headers["Location"] == "https://example.com/%C3%A4?b=1&c=2"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"state": "disabled"}, 404),
        ({"starts_at": "2090-01-01T00:00:00Z"}, 404),
        ({"max_clicks": 2}, 302),
    ],
)
def test_what_a_link_forbids_is_forbidden_from_a_copy(
    owner: Caller,
    make: AppMaker,
    shared: SharedRedis,
    asked: list[str],
    fields: dict[str, Any],
    status: int,
) -> None:
    link = owner.create_link(**fields)
    shared.let_time_pass(key_of(link))
    assert Visitor(make()).follow(link).status_code == status
    asked.clear()

    other = Visitor(make())

    assert other.follow(link).status_code == status
    assert asked == []
    if "max_clicks" in fields:
        assert other.follow(link).status_code == 410


def test_a_deleted_link_is_gone_from_a_copy_too(
    owner: Caller, make: AppMaker, shared: SharedRedis, asked: list[str]
) -> None:
    link = owner.create_link()
    owner.delete(f"/links/{link['id']}")
    shared.let_time_pass(key_of(link))
    assert Visitor(make()).follow(link).status_code == 410
    asked.clear()

    assert Visitor(make()).follow(link).status_code == 410
    assert asked == []


def test_a_protected_link_is_not_shared(owner: Caller, make: AppMaker, shared: SharedRedis) -> None:
    link = owner.create_link(password="open sesame")
    shared.let_time_pass(key_of(link))

    assert Visitor(make()).unlock(link, "open sesame").status_code == 303

    assert shared.held(key_of(link)) is None
    kept = [shared.client.get(name) or b"" for name in shared.client.keys("signpost:copies:*")]
    assert not any(b"argon2" in value or b"scrypt" in value for value in kept)  # type: ignore[operator]


def test_a_link_that_gets_a_password_is_shared_no_more(
    owner: Caller, make: AppMaker, shared: SharedRedis
) -> None:
    link, app = owner.create_link(), make()
    share(shared, link, app)

    owner.patch(f"/links/{link['id']}", {"password": "open sesame"})
    shared.let_time_pass(key_of(link))

    assert within(0.5, lambda: Visitor(app).follow(link).status_code == 403)
    assert Visitor(make()).follow(link).status_code == 403
    assert shared.held(key_of(link)) is None


def test_an_unknown_slug_is_shared_for_seconds(
    make: AppMaker, shared: SharedRedis, asked: list[str]
) -> None:
    assert Visitor(make()).open("/nothing-here").status_code == 404

    assert Visitor(make()).open("/nothing-here").status_code == 404

    assert asked == ["nothing-here"]
    assert 0 < shared.client.pttl(name_of("sign.test/nothing-here")) <= 5_000  # type: ignore[operator]


def test_a_link_that_is_made_ends_what_is_shared_of_its_absence(
    owner: Caller, make: AppMaker, shared: SharedRedis
) -> None:
    slug = f"made-{owner.workspace_id}"
    first, second = Visitor(make()), Visitor(make())
    assert [it.open(f"/{slug}").status_code for it in (first, second)] == [404, 404]

    link = owner.create_link(slug=slug)

    assert within(0.5, lambda: first.follow(link).status_code == 302)
    assert within(0.5, lambda: second.follow(link).status_code == 302)
    assert Visitor(make()).follow(link).status_code == 302


def test_what_is_kept_is_json_with_a_life(
    owner: Caller, make: AppMaker, shared: SharedRedis
) -> None:
    link = owner.create_link("https://example.com/kept")

    held = share(shared, link, make(REDIRECT_SHARED_STALE_SECONDS="100"))

    body = orjson.loads(held.partition(b"\n")[2])
    assert body[0] == 2
    assert "https://example.com/kept" in body[1]
    assert 395_000 < shared.client.pttl(name_of(key_of(link))) <= 400_000  # type: ignore[operator]


def damaged(held: bytes) -> list[bytes]:
    evil = held.replace(b"example.com", b"evil.example")
    return [
        b"",
        b"x",
        b"null",
        b"\x80\x04N.",
        held[:-1],
        held[:40],
        held[32:],
        b"0" * 32 + held[32:],
        held + b" ",
        evil,
        held.replace(b",302,", b",301,"),
        bytes([held[0] ^ 1]) + held[1:],
    ]


def test_a_damaged_or_planted_copy_is_ignored_and_replaced(
    owner: Caller, make: AppMaker, shared: SharedRedis, asked: list[str]
) -> None:
    link = owner.create_link("https://example.com/right")
    held = share(shared, link, make())
    for planted in damaged(held):
        shared.client.set(name_of(key_of(link)), planted)
        asked.clear()

        response = Visitor(make()).follow(link)

        assert response.headers["Location"] == "https://example.com/right", planted
        assert asked == [link["slug"]], planted
        assert (shared.held(key_of(link)) or b"").partition(b"\n")[2] == held.partition(b"\n")[2]


def test_the_copy_of_one_link_is_no_copy_of_another(
    owner: Caller, make: AppMaker, shared: SharedRedis
) -> None:
    link, other = owner.create_link("https://example.com/1"), owner.create_link()
    held = share(shared, link, make())

    shared.client.set(name_of(key_of(other)), held)

    assert Visitor(make()).follow(other).headers["Location"] == other["url"]


def test_a_process_with_another_secret_believes_nothing(
    owner: Caller, make: AppMaker, shared: SharedRedis, asked: list[str]
) -> None:
    link = owner.create_link()
    share(shared, link, make())
    asked.clear()

    assert Visitor(make(SECRET_KEY="another secret of the tests")).follow(link).status_code == 302

    assert asked == [link["slug"]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"7",
        b"[3,null]",
        b'[2,"text"]',
        b"[2,[]]",
        b"[2,[1,2,3,4,null,null,false,302,false,true,false,0]]",
        b'[2,[1,2,3,"u",null,"soon",false,302,false,true,false,0]]',
        b'[2,[1,true,3,"u",null,null,false,302,false,true,false,0]]',
        b'[2,[1,2,3,"u",null,1e300,false,302,false,true,false,0]]',
        b'[2,[1,2,3,"u",null,999999999999999999,false,302,false,true,false,0]]',
        b'[2,[1,2,3,"u",null,null,false,302,false,true,false,"x"]]',
    ],
)
def test_a_copy_that_another_version_wrote_is_ignored(
    owner: Caller, make: AppMaker, shared: SharedRedis, body: bytes
) -> None:
    link = owner.create_link("https://example.com/right")
    share(shared, link, make())
    shared.client.delete(name_of(key_of(link)))
    look = shared.copies.look(f"link:{key_of(link)}")
    assert look is not None
    shared.copies.keep(f"link:{key_of(link)}", look, body, 60, 60)
    assert shared.holds_copy(key_of(link))

    assert Visitor(make()).follow(link).headers["Location"] == "https://example.com/right"


def test_another_run_of_the_server_makes_copies_of_before_void(
    owner: Caller, make: AppMaker, shared: SharedRedis, asked: list[str]
) -> None:
    link = owner.create_link()
    share(shared, link, make())
    epoch = f"{PREFIX}epoch"
    before: bytes = shared.client.get(epoch)  # type: ignore[assignment]
    confirm_epoch(shared.client, epoch)
    assert shared.client.get(epoch) == before

    # As a server does that was started again from an old file.
    shared.client.set(epoch, b"another-run.1")
    confirm_epoch(shared.client, epoch)
    asked.clear()

    assert shared.client.get(epoch) not in (before, b"another-run.1")
    assert Visitor(make()).follow(link).status_code == 302
    assert asked == [link["slug"]]


def test_an_emptied_redis_is_filled_again(
    owner: Caller, make: AppMaker, shared: SharedRedis, asked: list[str]
) -> None:
    link = owner.create_link()
    share(shared, link, make())
    shared.client.flushdb()

    assert Visitor(make()).follow(link).status_code == 302
    asked.clear()

    assert Visitor(make()).follow(link).status_code == 302
    assert asked == []


def test_of_two_who_begin_an_epoch_one_prevails(shared: SharedRedis) -> None:
    epoch = f"{PREFIX}epoch"
    first = confirm_epoch(shared.client, epoch)
    assert confirm_epoch(shared.client, epoch) == first
    shared.client.set(epoch, b"another-run.1")
    second = confirm_epoch(shared.client, epoch)
    assert second != first
    assert confirm_epoch(shared.client, epoch) == second
    assert 0 < cast(int, shared.client.ttl(epoch)) <= 30 * 86_400


def test_a_copy_late_in_its_life_is_used_and_made_again(
    owner: Caller, make: AppMaker, shared: SharedRedis, asked: list[str]
) -> None:
    link = owner.create_link()
    first = share(shared, link, make(REDIRECT_SHARED_SECONDS="2"))
    time.sleep(1.7)
    asked.clear()

    assert Visitor(make(REDIRECT_SHARED_SECONDS="2")).follow(link).status_code == 302

    assert within(1, lambda: shared.held(key_of(link)) not in (None, first))
    assert asked == [link["slug"]]


def test_nothing_is_shared_where_the_setting_says_so(
    owner: Caller, make: AppMaker, shared: SharedRedis
) -> None:
    link = owner.create_link()
    shared.let_time_pass(key_of(link))

    assert Visitor(make(REDIRECT_SHARED_SECONDS="0")).follow(link).status_code == 302

    assert shared.held(key_of(link)) is None


def test_copies_are_kept_by_the_hundred(shared: SharedRedis) -> None:
    keys = [f"link:d/{number}" for number in range(300)]
    looks = shared.copies.look_each(keys)
    shared.client.set(f"{PREFIX}{keys[7]}", "-")  # changed meanwhile

    kept = shared.copies.keep_each(
        [(key, look, key.encode()) for key, look in zip(keys, looks, strict=True)], 60, 60
    )

    assert kept == 299
    bodies = [look.body for look in shared.copies.look_each(keys)]
    assert bodies == [None if key == keys[7] else key.encode() for key in keys]


def test_redis_that_is_full_is_read_and_its_copies_can_be_evicted(
    owner: Caller, make: AppMaker, shared: SharedRedis, asked: list[str]
) -> None:
    link, other = owner.create_link("https://example.com/old"), owner.create_link()
    share(shared, link, make())
    shared.let_time_pass(key_of(other))
    used = int(shared.client.info("memory")["used_memory"])
    before = shared.client.config_get("maxmemory*")
    shared.client.config_set("maxmemory-policy", "noeviction")
    shared.client.config_set("maxmemory", used // 2)
    try:
        asked.clear()
        visitor = Visitor(make())
        assert visitor.follow(other).status_code == 302  # cannot be kept
        assert visitor.follow(link).status_code == 302
        assert asked == [other["slug"]]
        owner.patch(f"/links/{link['id']}", {"url": "https://example.com/new"})
        assert within(0.5, lambda: visitor.follow(link).headers["Location"].endswith("/new"))
        assert Visitor(make()).follow(link).headers["Location"].endswith("/new")
    finally:
        for name in ("maxmemory", "maxmemory-policy"):
            shared.client.config_set(name, before[name])


def test_what_was_read_slowly_is_not_kept(
    shared: SharedRedis, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tombstone may be gone by then."""
    own = SharedCopies(shared.url, 0.5, settings.resolved_secret_key())
    look = own.look("link:d/slow")
    assert look is not None
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 11)

    own.keep("link:d/slow", look, b"body", 60, 60)

    assert shared.held("d/slow") is None
