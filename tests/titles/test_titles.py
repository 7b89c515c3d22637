"""Which links get the title of their target."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from api.core.database.routing import Database
from api.links.service import LinkService
from api.titles.service import MAX_TRIES, TitleFetcher
from tests.caller import Caller
from tests.redirects.conftest import AppMaker, closed_port, make_app
from tests.targets.conftest import service_of
from tests.titles.servers import Internet, Server, page, send, serving

__all__ = ["closed_port", "make_app"]

Wishes = Callable[[], list[tuple[int, int]]]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(page("The &quot;title&quot;")) as running:
        yield running


@pytest.fixture
def offered() -> list[int]:
    return []


@pytest.fixture
def titled_app(make_app: AppMaker, closed_port: int) -> Flask:
    """An application whose broker is away: what it queues is lost."""
    return make_app(FETCH_TITLES="true", REDIS_URL=f"redis://127.0.0.1:{closed_port}/0")


@pytest.fixture
def owner(titled_app: Flask, caller: Caller) -> Caller:
    return Caller(titled_app, caller.identity, caller.workspace_id, caller.key)


@pytest.fixture
def fetcher(titled_app: Flask, db: Database, server: Server, offered: list[int]) -> TitleFetcher:
    reader = Internet(server).reader()
    return TitleFetcher(db, service_of(titled_app, LinkService), reader, offered.extend)


@pytest.fixture
def wishes(db: Database, caller: Caller) -> Wishes:
    """The links of the caller that want a title, and how often it was tried."""

    def read() -> list[tuple[int, int]]:
        statement = text(
            "SELECT link_id, tries FROM title_fetches WHERE workspace_id = :id ORDER BY link_id"
        )
        with db.read(0) as session:
            return [tuple(row) for row in session.execute(statement, {"id": caller.workspace_id})]

    return read


def pass_time(db: Database, **columns: str) -> None:
    with db.write(0) as session:
        for column, interval in columns.items():
            session.execute(
                text(f"UPDATE title_fetches SET {column} = {column} - interval '{interval}'")
            )


def read_link(caller: Caller, link: dict[str, Any]) -> tuple[dict[str, Any], str]:
    answer = caller.get(f"/links/{link['id']}")
    return dict(answer.json or {}), answer.headers["ETag"]


def test_link_without_a_title_gets_that_of_its_target(
    owner: Caller, fetcher: TitleFetcher, wishes: Wishes
) -> None:
    link = owner.create_link("http://example.com/")
    before, tag = read_link(owner, link)
    assert wishes() == [(int(link["id"]), 0)]
    assert fetcher.fetch(int(link["id"])) == "set"
    after, new_tag = read_link(owner, link)
    assert after["title"] == 'The "title"'
    assert new_tag != tag
    assert after["updated_at"] > before["updated_at"]
    stale = owner.patch(f"/links/{link['id']}", {"title": "Mine"}, headers={"If-Match": tag})
    assert stale.status_code == 412
    assert wishes() == []
    assert fetcher.fetch(int(link["id"])) == "nothing to do"


def test_creation_waits_for_no_broker_and_fails_for_none(owner: Caller, wishes: Wishes) -> None:
    started = time.monotonic()
    links = [owner.create_link("http://example.com/") for _ in range(20)]
    operations = [{"op": "create", "link": {"url": "http://example.com/"}}] * 100
    batch = owner.post("/links/batch", {"operations": operations}).json or {}
    assert time.monotonic() - started < 3
    made = [*links, *(result["link"] for result in batch["results"])]
    assert sorted(number for number, _ in wishes()) == sorted(int(link["id"]) for link in made)


def test_only_links_without_a_title_to_the_web_want_one(
    make_app: AppMaker,
    caller: Caller,
    closed_port: int,
    wishes: Wishes,
) -> None:
    app = make_app(
        FETCH_TITLES="true",
        REDIS_URL=f"redis://127.0.0.1:{closed_port}/0",
        ALLOWED_URL_SCHEMES="http,mailto",
    )
    owner = Caller(app, caller.identity, caller.workspace_id, caller.key)
    owner.create_link("http://example.com/", title="Mine")
    owner.create_link("http://example.com/", title="")
    owner.create_link("mailto:somebody@example.com")
    assert wishes() == []


def test_nobody_wishes_where_it_is_not_asked_for(caller: Caller, wishes: Wishes) -> None:
    caller.create_link("http://example.com/")
    assert wishes() == []


def test_title_that_somebody_gave_meanwhile_stays(
    owner: Caller, fetcher: TitleFetcher, server: Server, wishes: Wishes
) -> None:
    link = owner.create_link("http://example.com/")

    def answer(connection: Any, asked: Any) -> None:
        assert owner.patch(f"/links/{link['id']}", {"title": "Mine"}).status_code == 200
        page("Theirs")(connection, asked)

    server.answer = answer
    assert fetcher.fetch(int(link["id"])) == "changed meanwhile"
    assert read_link(owner, link)[0]["title"] == "Mine"
    assert wishes() == []


def test_title_of_a_target_that_was_changed_meanwhile_is_not_taken(
    owner: Caller, fetcher: TitleFetcher, server: Server, wishes: Wishes
) -> None:
    link = owner.create_link("http://example.com/old")

    def answer(connection: Any, asked: Any) -> None:
        if "old" in asked.line:
            new = {"url": "http://example.com/new"}
            assert owner.patch(f"/links/{link['id']}", new).status_code == 200
        page(asked.line)(connection, asked)

    server.answer = answer
    assert fetcher.fetch(int(link["id"])) == "changed meanwhile"
    assert read_link(owner, link)[0]["title"] is None
    assert wishes() == [(int(link["id"]), 0)]
    assert fetcher.fetch(int(link["id"])) == "set"
    assert read_link(owner, link)[0]["title"] == "GET /new HTTP/1.1"


def test_deleted_link_is_left_alone(
    owner: Caller, fetcher: TitleFetcher, server: Server, wishes: Wishes
) -> None:
    link = owner.create_link("http://example.com/")
    assert owner.delete(f"/links/{link['id']}").status_code == 204
    assert fetcher.fetch(int(link["id"])) == "not wanted"
    assert server.asked == []
    assert wishes() == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/", "http://a.test:22/"]
)
def test_private_target_is_never_asked(
    url: str, owner: Caller, fetcher: TitleFetcher, server: Server, wishes: Wishes
) -> None:
    link = owner.create_link(url)  # which a link may lead to, by default
    assert fetcher.fetch(int(link["id"])) == "refused"
    assert server.asked == []
    assert wishes() == []


@pytest.mark.parametrize(
    "answer",
    [
        send(b"<p>none", status="404 Not Found"),
        send(b"<title>No page</title>", status="404 Not Found"),
        send(b"<p>none"),
        send(b"%PDF <title>x</title>", content_type="application/pdf"),
    ],
)
def test_page_without_a_title_is_asked_once(
    answer: Any, owner: Caller, fetcher: TitleFetcher, server: Server, wishes: Wishes
) -> None:
    server.answer = answer
    link = owner.create_link("http://example.com/")
    assert fetcher.fetch(int(link["id"])) == "has none"
    assert read_link(owner, link)[0]["title"] is None
    assert wishes() == []


@pytest.mark.parametrize("status", ["500 Oops", "503 Busy", "429 Slow down", "408 Timeout"])
def test_server_that_has_no_time_is_asked_again_later_and_not_for_ever(
    status: str,
    owner: Caller,
    fetcher: TitleFetcher,
    server: Server,
    db: Database,
    offered: list[int],
    wishes: Wishes,
) -> None:
    server.answer = send(status=status)
    link = owner.create_link("http://example.com/")
    number = int(link["id"])
    for tries in range(1, MAX_TRIES + 1):
        assert fetcher.fetch(number) == "later"
        assert fetcher.fetch(number) == "nothing to do"  # too early
        if tries < MAX_TRIES:
            assert wishes() == [(number, tries)]
            pass_time(db, due_at="3 minutes")
            assert fetcher.fetch(number) == "nothing to do"
            pass_time(db, due_at="28 minutes", offered_at="3 minutes")
            fetcher.offer_due()
            assert number in offered
            offered.clear()
    assert wishes() == []
    assert len(server.asked) == MAX_TRIES


def test_job_that_was_lost_is_offered_again(
    owner: Caller, fetcher: TitleFetcher, db: Database, offered: list[int]
) -> None:
    link = owner.create_link("http://example.com/")
    number = int(link["id"])
    fetcher.offer_due()
    assert number not in offered  # somebody may just be taking it
    pass_time(db, offered_at="3 minutes")
    fetcher.offer_due()
    assert offered.count(number) == 1
    fetcher.offer_due()
    assert offered.count(number) == 1


def test_worker_that_died_is_found_out(
    owner: Caller, fetcher: TitleFetcher, db: Database, offered: list[int], wishes: Wishes
) -> None:
    link = owner.create_link("http://example.com/")
    number = int(link["id"])
    for _ in range(MAX_TRIES):
        with db.write(0) as session:  # as one begins that never ends
            session.execute(
                text("UPDATE title_fetches SET tries = tries + 1 WHERE link_id = :id"),
                {"id": number},
            )
    assert fetcher.fetch(number) == "given up"
    assert wishes() == []
