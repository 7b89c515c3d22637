"""Statistics over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.core.database.routing import Database
from tests.caller import Caller
from tests.stats.samples import count, make_click

MARCH = {"from": "2026-03-01", "to": "2026-03-31", "timezone": "Europe/Berlin"}


@pytest.fixture
def link(caller: Caller, db: Database) -> dict[str, Any]:
    """A link with three clicks of two people, and one of a bot, on 29 March."""
    link = caller.create_link()
    moment = datetime(2026, 3, 29, 21, 50, tzinfo=UTC)
    known = {"link_id": int(link["id"]), "workspace_id": caller.workspace_id, "clicked_at": moment}
    people = [("DE", 1), ("DE", 1), ("", 2)]
    clicks = [make_click(**known, country=country, visitor=who) for country, who in people]
    count(db, [*clicks, make_click(**known, bot=True)])
    return link


def paths(link: dict[str, Any]) -> tuple[str, str]:
    return f"/links/{link['id']}/stats", "/stats"


def test_answer_has_total_series_and_groups(caller: Caller, link: dict[str, Any]) -> None:
    for path in paths(link):
        response = caller.get(path, query_string=MARCH | {"group_by": "country"})
        assert response.status_code == 200, response.text
        body = response.json
        assert body["total"] == {"clicks": 3, "visitors": 2}
        assert (body["from"], body["to"]) == ("2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z")
        assert (body["interval"], body["timezone"]) == ("day", "Europe/Berlin")
        assert len(body["series"]) == 31
        assert body["series"][28] == {
            "start": "2026-03-28T23:00:00Z",
            "clicks": 3,
            "visitors": 2,
        }
        assert body["groups"] == [
            {"value": "DE", "clicks": 2, "visitors": 1},
            {"value": None, "clicks": 1, "visitors": 1},
        ]


def test_without_group_by_there_are_no_groups(caller: Caller, link: dict[str, Any]) -> None:
    body = caller.get(paths(link)[0]).json
    assert set(body) == {"from", "to", "interval", "timezone", "total", "series"}


def test_bots_are_asked_for(caller: Caller, link: dict[str, Any]) -> None:
    for path in paths(link):
        only = caller.get(path, query_string=MARCH | {"bots": "only"}).json
        assert only["total"] == {"clicks": 1, "visitors": 1}


def test_no_credential_answers_401(client: FlaskClient, link: dict[str, Any]) -> None:
    for path in paths(link):
        assert client.get(f"/api/v1{path}").status_code == 401


def test_missing_scope_answers_403(caller: Caller, link: dict[str, Any]) -> None:
    for path in paths(link):
        assert caller.without("stats:read").get(path).status_code == 403


def test_link_of_another_workspace_answers_404(other_caller: Caller, link: dict[str, Any]) -> None:
    own, everything = paths(link)
    assert other_caller.get(own).status_code == 404
    assert other_caller.get(everything, query_string=MARCH).json["total"]["clicks"] == 0


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("from", "yesterday"),
        ("from", "2026-02-30"),
        ("from", "2026-03-01T00:00:00"),
        ("from", "2026-03-01T00:00:00 02:00"),
        ("from", "0001-01-01"),
        ("from", "0001-01-01T00:00:00+14:00"),
        ("from", "2999-01-01"),
        ("to", "9999-12-31"),
        ("to", "9999-12-31T23:59:59-12:00"),
        ("interval", "minute"),
        ("interval", ""),
        ("group_by", "visitor"),
        ("group_by", "total"),
        ("timezone", "Mars/Olympus"),
        ("timezone", "../etc/passwd"),
        ("timezone", ""),
        ("bots", "yes"),
        ("limit", "0"),
        ("limit", "501"),
        ("unknown", "1"),
    ],
)
def test_wrong_parameter_answers_422_and_is_named(
    caller: Caller, parameter: str, value: str
) -> None:
    response = caller.get("/stats", query_string={parameter: value})
    assert response.status_code == 422, response.text
    assert response.json["errors"][0]["parameter"] == parameter


def test_too_many_buckets_answer_422(caller: Caller) -> None:
    query = {"from": "2025-01-01", "to": "2026-01-01", "interval": "hour"}
    response = caller.get("/stats", query_string=query)
    assert response.status_code == 422
    assert response.json["errors"][0]["parameter"] == "interval"
