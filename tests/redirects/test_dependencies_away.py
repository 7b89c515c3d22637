"""Visits while PostgreSQL or Redis is away or hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy.engine import make_url

from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.proxy import Relay
from tests.redirects.visitor import Visitor


@pytest.fixture
def database_relay(database_url: str) -> Iterator[Relay]:
    url = make_url(database_url)
    with Relay(url.host or "127.0.0.1", url.port or 5432) as relay:
        yield relay


@pytest.fixture
def behind(database_relay: Relay, database_url: str, make_app: AppMaker) -> Visitor:
    """A visitor of an application whose database can be taken away; entries live briefly."""
    url = make_url(database_url).set(host="127.0.0.1", port=database_relay.port)
    app = make_app(
        DATABASE_URL=url.render_as_string(hide_password=False),
        REDIS_URL="",
        REDIRECT_CACHE_UNSYNCED_SECONDS="0.05",
        DB_CONNECT_TIMEOUT_SECONDS="2",
        DB_POOL_TIMEOUT_SECONDS="0.3",
    )
    return Visitor(app)


def test_known_link_redirects_while_the_database_is_away(
    caller: Caller, behind: Visitor, database_relay: Relay
) -> None:
    link = caller.create_link("https://example.com/kept")
    assert behind.follow(link).status_code == 302
    database_relay.cut()
    time.sleep(0.1)

    response = behind.follow(link)

    assert response.status_code == 302
    assert response.headers["Location"] == "https://example.com/kept"


def test_known_link_of_a_domain_redirects_while_the_database_is_away(
    caller: Caller, behind: Visitor, database_relay: Relay
) -> None:
    host = f"away-{time.monotonic_ns()}.example"
    caller.post("/domains", {"host": host})
    link = caller.create_link(domain=host)
    assert behind.at(host).follow(link).status_code == 302
    database_relay.cut()
    time.sleep(0.1)

    assert behind.at(host).follow(link).status_code == 302


def test_unknown_link_answers_503_with_retry_after(
    caller: Caller, behind: Visitor, database_relay: Relay
) -> None:
    link = caller.create_link()
    database_relay.cut()

    response = behind.follow(link)
    page = behind.by_browser().follow(link)

    assert response.status_code == page.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert int(page.headers["Retry-After"]) >= 1
    assert response.get_json()["type"] == "urn:signpost:problem:unavailable"
    assert page.content_type == "text/html; charset=utf-8"
    assert "no-store" in response.headers["Cache-Control"]
    assert "psycopg2" not in response.text + page.text
    assert "connection" not in response.text + page.text


def test_limited_link_is_not_followed_uncounted(
    caller: Caller, behind: Visitor, database_relay: Relay
) -> None:
    link = caller.create_link(max_clicks=5)
    assert behind.follow(link).status_code == 302
    database_relay.cut()

    assert behind.follow(link).status_code == 503


def test_visits_recover_when_the_database_is_back(
    caller: Caller, behind: Visitor, database_relay: Relay
) -> None:
    known, unknown = caller.create_link(), caller.create_link()
    assert behind.follow(known).status_code == 302
    database_relay.cut()
    assert behind.follow(known).status_code == 302
    assert behind.follow(unknown).status_code == 503
    caller.delete(f"/links/{known['id']}")

    database_relay.restore()

    assert behind.follow(unknown).status_code == 302
    deadline = time.monotonic() + 3
    while behind.follow(known).status_code != 410:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_hanging_database_costs_a_known_link_one_wait_only(
    caller: Caller, behind: Visitor, database_relay: Relay
) -> None:
    link = caller.create_link()
    behind.follow(link)
    # Pooled connections would wait for the server as long as it takes.
    behind.app.extensions["signpost"].db.dispose()
    database_relay.hang()
    time.sleep(0.1)

    started = time.monotonic()
    assert behind.follow(link).status_code == 302
    first = time.monotonic() - started
    for _ in range(10):
        assert behind.follow(link).status_code == 302

    assert first < 3
    assert time.monotonic() - started < first + 0.5


@pytest.fixture
def without_redis(make_app: AppMaker, closed_port: int) -> Flask:
    return make_app(REDIS_URL=f"redis://127.0.0.1:{closed_port}/0")


def test_links_are_made_and_followed_while_redis_is_away(
    caller: Caller, without_redis: Flask
) -> None:
    own = Caller(without_redis, caller.identity, caller.workspace_id, caller.key)
    visitor = Visitor(without_redis)

    link = own.create_link("https://example.com/old")
    assert visitor.follow(link).status_code == 302
    assert own.patch(f"/links/{link['id']}", {"url": "https://example.com/new"}).status_code == 200

    assert visitor.follow(link).headers["Location"].endswith("/new")


def test_hanging_redis_holds_up_an_answer_for_a_bounded_time(
    caller: Caller, make_app: AppMaker, database_url: str
) -> None:
    url = make_url(database_url)
    with Relay(url.host or "127.0.0.1", url.port or 5432) as relay:
        relay.hang()
        app = make_app(REDIS_URL=f"redis://127.0.0.1:{relay.port}/0", REDIS_TIMEOUT_SECONDS="0.1")
        own = Caller(app, caller.identity, caller.workspace_id, caller.key)
        started = time.monotonic()

        link = own.create_link(password="pw")
        assert Visitor(app).unlock(link, "pw").status_code == 303

        assert time.monotonic() - started < 3
