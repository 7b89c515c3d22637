"""Links a month: exact, also when two processes make some at the same moment."""

from __future__ import annotations

import calendar
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from api.core.database.routing import Database
from api.core.errors import Unavailable
from api.limits.models import LinkUsage
from api.limits.service import LinkQuota
from api.links.service import LinkService
from tests.caller import Caller
from tests.limits.conftest import AppMaker, at

CallerMaker = Callable[..., Caller]
URL = {"url": "https://example.com/"}


def made(caller: Caller) -> int:
    return len((caller.get("/links?limit=200").json or {})["data"])


def used(caller: Caller) -> int:
    limits = (caller.get("/usage").json or {})["limits"]
    (links,) = [limit["used"] for limit in limits if limit["policy"] == "links"]
    return int(links)


def batch(caller: Caller, links: list[dict[str, str]]) -> list[int]:
    operations = [{"op": "create", "link": link} for link in links]
    answer = caller.post("/links/batch", {"operations": operations})
    assert answer.status_code == 200
    return [result["status"] for result in (answer.json or {})["results"]]


def test_links_past_the_month_are_refused_until_it_ends(caller_of: CallerMaker) -> None:
    caller = caller_of("links")
    for _ in range(10):
        assert caller.post("/links", URL).status_code == 201

    refused = caller.post("/links", URL)

    assert refused.status_code == 429
    problem = refused.json or {}
    assert problem["type"] == "urn:signpost:problem:quota-exceeded"
    assert problem["violated-policies"] == ["links"]
    assert problem["detail"] == "The plan allows 10 new links a month."
    ends = datetime.fromtimestamp(time.time() + int(refused.headers["Retry-After"]), UTC)
    today = datetime.now(UTC)
    days = calendar.monthrange(today.year, today.month)[1]
    first = datetime(today.year, today.month, 1, tzinfo=UTC).timestamp() + days * 86_400
    assert abs(ends.timestamp() - first) < 5
    assert made(caller) == used(caller) == 10


def test_a_batch_makes_what_is_left(caller_of: CallerMaker) -> None:
    caller = caller_of("links")
    assert batch(caller, [URL] * 7) == [201] * 7
    answer = caller.post(
        "/links/batch", {"operations": [{"op": "create", "link": URL} for _ in range(5)]}
    )
    results = (answer.json or {})["results"]
    assert [result["status"] for result in results] == [201] * 3 + [429] * 2
    assert results[-1]["problem"]["violated-policies"] == ["links"]
    assert made(caller) == used(caller) == 10


def test_links_that_do_not_come_to_be_use_up_nothing(caller_of: CallerMaker) -> None:
    caller = caller_of("links")
    caller.create_link(slug="taken-here")
    assert caller.post("/links", URL | {"slug": "taken-here"}).status_code == 409
    assert caller.post("/links", {"url": "javascript:alert(1)"}).status_code == 422
    assert batch(caller, [URL, URL | {"slug": "taken-here"}, {"url": "nonsense"}]) == [
        201,
        409,
        422,
    ]
    assert made(caller) == used(caller) == 2


def test_an_atomic_batch_that_is_undone_uses_up_nothing(caller_of: CallerMaker) -> None:
    caller = caller_of("links")
    caller.create_link(slug="taken-too")
    body: dict[str, Any] = {
        "atomic": True,
        "operations": [{"op": "create", "link": URL} for _ in range(9)],
    }
    body["operations"][4] = {"op": "create", "link": URL | {"slug": "taken-too"}}
    assert caller.post("/links/batch", body).status_code == 422
    assert made(caller) == used(caller) == 1
    body["operations"] = [{"op": "create", "link": URL} for _ in range(10)]
    undone = caller.post("/links/batch", body)
    assert [each["status"] for each in (undone.json or {})["results"]] == [424] * 9 + [429]
    assert made(caller) == used(caller) == 1
    body["operations"].pop()
    assert caller.post("/links/batch", body).status_code == 200
    assert made(caller) == used(caller) == 10


def test_an_answer_that_is_repeated_makes_no_link(caller_of: CallerMaker) -> None:
    caller = caller_of("links")
    for _ in range(3):
        answer = caller.post("/links", URL, headers={"Idempotency-Key": "the-same"})
        assert answer.status_code == 201
    assert caller.post("/links?find_existing=true", URL).status_code == 200
    assert used(caller) == 1


def test_deleted_links_stay_counted(caller_of: CallerMaker) -> None:
    caller = caller_of("links")
    link = caller.create_link()
    caller.delete(f"/links/{link['id']}")
    assert used(caller) == 1


def test_two_processes_that_race_make_not_one_too_many(
    caller_of: CallerMaker, make: AppMaker
) -> None:
    one = caller_of("links")
    processes = [one, at(one, make())]
    ready = threading.Barrier(8)

    def go(number: int) -> list[int]:
        caller = processes[number % 2]
        ready.wait()
        if number < 4:
            return [caller.post("/links", URL).status_code for _ in range(3)]
        return batch(caller, [URL] * 3)

    with ThreadPoolExecutor(8) as pool:
        answers = [status for some in pool.map(go, range(8)) for status in some]

    assert sorted(answers) == [201] * 10 + [429] * 14
    assert made(one) == used(one) == 10


def test_links_are_refused_while_they_cannot_be_counted(
    caller_of: CallerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = caller_of("links")
    caller.create_link()

    def away(_database: Database, **_options: bool) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "write_directory_once", away)
        assert caller.post("/links", URL).status_code == 503
    assert used(caller) == 1


def test_without_a_quota_nothing_is_counted(caller_of: CallerMaker, db: Database) -> None:
    caller = caller_of("unlimited")
    caller.create_link()
    assert _quota_of(caller.app).take(caller.workspace_id, 5).month is None
    assert (caller.get("/usage").json or {}) == {"plan": "unlimited", "limits": []}
    with db.read_directory() as session:
        rows = select(LinkUsage).where(LinkUsage.workspace_id == caller.workspace_id)
        assert session.execute(rows).all() == []


def _quota_of(app: Flask) -> LinkQuota:
    quota: LinkQuota = app.extensions["signpost.services"][LinkService]._writers._quota
    return quota


def test_usage_tells_plan_limits_and_resets(caller_of: CallerMaker) -> None:
    caller = caller_of("tiny")
    caller.create_link()
    caller.get("/links")

    usage = caller.get("/usage").json or {}

    assert usage["plan"] == "tiny"
    limits = {limit.pop("policy"): limit for limit in usage["limits"]}
    resets = {name: limit.pop("resets_at") for name, limit in limits.items()}
    assert limits == {
        "reads": {"limit": 5, "used": 2, "remaining": 3},  # this one is counted, too
        "writes": {"limit": 3, "used": 1, "remaining": 2},
        "calls": {"limit": 100, "used": 3, "remaining": 97},
        "links": {"limit": 4, "used": 1, "remaining": 3},
    }
    moments = {name: datetime.fromisoformat(moment) for name, moment in resets.items()}
    now = datetime.now(UTC)
    assert 0 <= (moments["reads"] - now).total_seconds() <= 61
    assert (moments["links"].day, moments["links"].hour) == (1, 0)
    assert moments["calls"].timestamp() % 86_400 < 2


def test_usage_of_another_workspace_is_not_told(caller_of: CallerMaker) -> None:
    one, other = caller_of("tiny"), caller_of("tiny")
    one.create_link()
    assert used(other) == 0
    assert one.with_scopes("transfers").get("/usage").status_code == 403
