"""Erasing the clicks of a link: who may, what is gone at once, what is gone later, what stays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from api.clicks.deletions import find_erasures, lock_out_ingest
from api.clicks.erasure import finish_erasures
from api.clicks.ingest import Ingest
from api.clicks.service import find_horizons
from api.core.database.routing import Database
from api.core.ids import slot_of_id
from tests.answers import problem
from tests.caller import Caller
from tests.factories.clicks import a_click, a_segment, now_ms

IN_REQUEST = 5_000
# A moment that no test's request comes before: clicks of then are of before the erasure.
MINUTE_MS = 60_000


@pytest.fixture
def link(caller: Caller) -> dict[str, Any]:
    return caller.create_link()


@pytest.fixture
def visit(caller: Caller, ingest: Ingest) -> Callable[..., None]:
    """Clicks of some time ago, counted now."""

    def ingest_clicks(link: dict[str, Any], times: int, ago_ms: int = MINUTE_MS) -> None:
        moment = now_ms() - ago_ms
        workspace = caller.workspace_id
        clicks = [
            a_click(int(link["id"]), workspace_id=workspace, at_ms=moment + number % 1000)
            for number in range(times)
        ]
        ingest.ingest([a_segment(clicks)])

    return ingest_clicks


def shown(caller: Caller, link: dict[str, Any]) -> int:
    return len((caller.get(f"/links/{link['id']}/clicks?limit=200").json or {})["data"])


def counted(caller: Caller, path: str) -> int:
    answer = caller.get(f"{path}?bots=include").json or {}
    return int(answer["total"]["clicks"])


def rows(db: Database, link: dict[str, Any]) -> int:
    with db.read(0) as session:
        query = text("SELECT count(*) FROM clicks WHERE link_id = :link")
        return int(session.scalar(query, {"link": int(link["id"])}) or 0)


def unfinished(db: Database, link: dict[str, Any]) -> bool:
    query = text("SELECT finished_at IS NULL FROM click_erasures WHERE link_id = :link")
    with db.read(0) as session:
        return bool(session.scalar(query, {"link": int(link["id"])}))


def make_older(db: Database, link: dict[str, Any], seconds: int) -> None:
    """As if the erasure had been asked for earlier."""
    query = "UPDATE click_erasures SET requested_at = requested_at - :by WHERE link_id = :link"
    with db.write(0) as session:
        session.execute(text(query), {"by": timedelta(seconds=seconds), "link": int(link["id"])})


def erase(caller: Caller, link: dict[str, Any]) -> Any:
    return caller.delete(f"/links/{link['id']}/clicks")


def test_clicks_and_statistics_of_the_link_are_gone_at_once(
    caller: Caller, db: Database, link: dict[str, Any], visit: Callable[..., None]
) -> None:
    other = caller.create_link("https://example.org/")
    visit(link, 3)
    visit(other, 2)
    assert counted(caller, f"/links/{link['id']}/stats") == 3
    answer = erase(caller, link)
    assert answer.status_code == 204
    assert answer.data == b""
    assert shown(caller, link) == 0
    assert rows(db, link) == 0
    assert counted(caller, f"/links/{link['id']}/stats") == 0
    assert (caller.get(f"/links/{link['id']}").json or {})["clicks"] == 0
    assert shown(caller, other) == 2
    assert counted(caller, f"/links/{other['id']}/stats") == 2


def test_sums_of_the_workspace_stay(
    caller: Caller, link: dict[str, Any], visit: Callable[..., None]
) -> None:
    visit(link, 3)
    erase(caller, link)
    assert counted(caller, "/stats") == 3


def test_clicks_that_come_after_are_shown_and_counted(
    caller: Caller, db: Database, link: dict[str, Any], visit: Callable[..., None]
) -> None:
    visit(link, 3)
    erase(caller, link)
    visit(link, 2, ago_ms=-1_000)
    list(finish_erasures(db))
    assert shown(caller, link) == 2
    assert counted(caller, f"/links/{link['id']}/stats") == 2
    assert (caller.get(f"/links/{link['id']}").json or {})["clicks"] == 2


def test_many_clicks_are_hidden_at_once_and_deleted_by_housekeeping(
    caller: Caller, db: Database, link: dict[str, Any], visit: Callable[..., None]
) -> None:
    visit(link, IN_REQUEST + 1_500)
    answer = erase(caller, link)
    assert answer.status_code == 202
    assert answer.json["state"] == "pending"
    assert answer.json["erased_until"].endswith("Z")
    assert shown(caller, link) == 0
    assert 0 < rows(db, link) <= 1_500
    assert sum(finish_erasures(db)) > 0
    assert rows(db, link) == 0
    assert erase(caller, link).status_code == 204


def test_a_second_request_goes_on_with_what_is_left(
    caller: Caller, db: Database, link: dict[str, Any], visit: Callable[..., None]
) -> None:
    visit(link, 2 * IN_REQUEST + 500)
    assert [erase(caller, link).status_code for _ in range(3)] == [202, 202, 204]
    assert rows(db, link) == 0


def test_a_late_click_is_never_shown_and_is_deleted(
    caller: Caller, db: Database, link: dict[str, Any], visit: Callable[..., None]
) -> None:
    visit(link, 1)
    erase(caller, link)
    visit(link, 4)
    assert shown(caller, link) == 0
    list(finish_erasures(db))
    assert rows(db, link) == 0


def test_an_erasure_is_watched_for_a_minute_and_until_nothing_is_found(
    caller: Caller, db: Database, link: dict[str, Any], visit: Callable[..., None]
) -> None:
    erase(caller, link)
    list(finish_erasures(db))
    assert unfinished(db, link)
    make_older(db, link, seconds=61)
    list(finish_erasures(db))
    assert not unfinished(db, link)
    erase(caller, link)
    assert unfinished(db, link)


def test_ingest_is_told_of_erased_links_only(
    caller: Caller, db: Database, link: dict[str, Any]
) -> None:
    other = caller.create_link("https://example.org/")
    before = datetime.now(UTC)
    erase(caller, link)
    with db.write(0) as session:
        found = find_erasures(session, [int(link["id"]), int(other["id"])])
        assert find_erasures(session, []) == {}
    assert list(found) == [int(link["id"])]
    assert before <= found[int(link["id"])] <= datetime.now(UTC)


def test_an_erasure_waits_for_clicks_that_are_being_stored(
    caller: Caller, db: Database, link: dict[str, Any]
) -> None:
    statuses: list[int] = []
    request = threading.Thread(target=lambda: statuses.append(erase(caller, link).status_code))
    with db.write(slot_of_id(int(link["id"]))) as session:
        assert int(link["id"]) not in find_erasures(session, [int(link["id"])])
        request.start()
        request.join(0.5)
        assert statuses == []
    request.join(10)
    assert statuses == [204]


def test_a_busy_ingest_makes_the_request_answer_503(
    caller: Caller, db: Database, link: dict[str, Any]
) -> None:
    with db.write(slot_of_id(int(link["id"]))) as session:
        lock_out_ingest(session)
        answer = erase(caller, link)
    problem(answer, 503)
    assert "Retry-After" in answer.headers
    assert erase(caller, link).status_code == 204


def test_what_is_counted_of_before_is_marked_as_not_to_be_counted_again(
    caller: Caller, db: Database, link: dict[str, Any]
) -> None:
    before = datetime.now(UTC)
    erase(caller, link)
    with db.read(0) as session:
        assert before <= find_horizons(session)[caller.workspace_id] <= datetime.now(UTC)


def test_the_clicks_of_a_deleted_link_can_be_erased(
    caller: Caller, other_caller: Caller, db: Database, link: dict[str, Any], visit: Any
) -> None:
    visit(link, 3)
    caller.delete(f"/links/{link['id']}")
    assert erase(other_caller, link).status_code == 404
    assert erase(caller, link).status_code == 204
    assert rows(db, link) == 0


def test_the_clicks_of_a_link_whose_slug_was_used_again_can_be_erased(
    caller: Caller, other_caller: Caller, db: Database, visit: Any
) -> None:
    caller.patch(f"/workspaces/{caller.workspace_id}", {"reuse_deleted_slugs": True})
    link = caller.create_link(slug=f"again-{caller.workspace_id}")
    visit(link, 3)
    caller.delete(f"/links/{link['id']}")
    caller.create_link(slug=link["slug"])
    assert erase(other_caller, link).status_code == 404
    assert rows(db, link) == 3
    assert erase(caller, link).status_code == 204
    assert rows(db, link) == 0


def test_without_credential_is_refused(caller: Caller, link: dict[str, Any]) -> None:
    response = caller.app.test_client().delete(f"/api/v1/links/{link['id']}/clicks")
    assert response.status_code == 401


def test_without_scope_is_refused(caller: Caller, link: dict[str, Any]) -> None:
    problem(erase(caller.without("links:write"), link), 403)


def test_another_workspaces_link_is_not_found_and_keeps_its_clicks(
    caller: Caller, other_caller: Caller, link: dict[str, Any], visit: Callable[..., None]
) -> None:
    visit(link, 2)
    problem(erase(other_caller, link), 404)
    assert shown(caller, link) == 2


def test_a_link_that_never_was_is_not_found(caller: Caller) -> None:
    problem(caller.delete("/links/123/clicks"), 404)
