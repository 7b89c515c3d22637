"""Who tries out slugs is slowed down; who follows links pays nothing for that."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from flask import Flask

from api.core.limits import AddressLimits
from api.core.registry import _KEY as SERVICES
from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.visitor import Visitor

MISSES = 4


@pytest.fixture
def site(make_app: AppMaker) -> Flask:
    return make_app(MISSES_PER_MINUTE=str(MISSES))


@pytest.fixture
def scanner(site: Flask) -> Visitor:
    """Somebody whom no other test knows."""
    return Visitor(site, address=f"2001:db8:{secrets.randbits(16):x}:{secrets.randbits(16):x}::1")


def miss(visitor: Visitor) -> int:
    return visitor.open(f"/{secrets.token_hex(8)}").status_code


def test_misses_past_the_limit_answer_429_for_a_while(scanner: Visitor) -> None:
    assert [miss(scanner) for _ in range(MISSES + 2)] == [404] * MISSES + [429, 429]

    answer = scanner.open("/nothing-here")

    assert answer.get_json()["type"] == "urn:signpost:problem:too-many-requests"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert "no-store" in answer.headers["Cache-Control"]


def test_a_browser_sees_a_page(scanner: Visitor) -> None:
    for _ in range(MISSES):
        miss(scanner)

    answer = scanner.by_browser().open("/nothing-here")

    assert answer.status_code == 429
    assert answer.content_type == "text/html; charset=utf-8"


def test_links_are_followed_whatever_the_address_has_missed(
    scanner: Visitor, caller: Caller
) -> None:
    link = caller.create_link()
    for _ in range(MISSES + 1):
        miss(scanner)

    assert [scanner.follow(link).status_code for _ in range(3 * MISSES)] == [302] * 3 * MISSES
    assert miss(scanner) == 429


def test_a_hit_asks_no_limit(
    scanner: Visitor, caller: Caller, monkeypatch: pytest.MonkeyPatch, site: Flask
) -> None:
    asked: list[Any] = []
    limits = site.extensions[SERVICES][AddressLimits]
    monkeypatch.setattr(type(limits), "hit", lambda *facts: asked.append(facts[1:]))
    link = caller.create_link()

    for _ in range(10):
        assert scanner.follow(link).status_code == 302
    assert asked == []

    miss(scanner)
    assert asked == [("miss", scanner.address)]


def test_links_that_are_gone_are_no_misses(scanner: Visitor, caller: Caller) -> None:
    link = caller.create_link()
    caller.delete(f"/links/{link['id']}")

    assert {scanner.follow(link).status_code for _ in range(2 * MISSES)} == {410}


def test_links_that_do_not_answer_yet_cannot_be_told_from_none(
    scanner: Visitor, caller: Caller
) -> None:
    link = caller.create_link(state="disabled")

    answers = [scanner.follow(link).status_code for _ in range(MISSES + 1)]

    assert answers == [404] * MISSES + [429]


def test_two_processes_share_the_count(
    scanner: Visitor, make_app: AppMaker, redis_url: str
) -> None:
    other = Visitor(make_app(MISSES_PER_MINUTE=str(MISSES)), address=scanner.address)

    assert [miss(each) for each in (scanner, other) * 2] == [404] * MISSES
    assert [miss(scanner), miss(other)] == [429, 429]


def test_others_are_not_slowed_down(scanner: Visitor) -> None:
    for _ in range(MISSES + 1):
        miss(scanner)

    assert miss(scanner.from_address("2001:db8:ffff:ffff::1")) == 404
