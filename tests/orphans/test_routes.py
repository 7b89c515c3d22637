"""Visits without a link over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.clicks.records import ORPHAN_GONE, ORPHAN_ROOT, ORPHAN_UNKNOWN, OrphanRecord
from api.core.database.routing import Database
from api.orphans.service import OrphanService
from tests.answers import wrong_fields
from tests.caller import Caller

MARCH = {"from": "2026-03-01", "to": "2026-03-31", "timezone": "Europe/Berlin"}
PATH = "/stats/orphans"


@pytest.fixture(autouse=True)
def counted(caller: Caller, db: Database) -> None:
    """Visits of the workspace, of nobody, and of somebody else, on 29 March in Berlin."""
    late = _ms(datetime(2026, 3, 28, 23, 0, tzinfo=UTC))
    mine = caller.workspace_id
    _count(
        db,
        OrphanRecord(late, ORPHAN_UNKNOWN, "go.example", mine, 3),
        OrphanRecord(late - 1, ORPHAN_UNKNOWN, "go.example", mine, 4),
        OrphanRecord(late, ORPHAN_ROOT, "sign.test", 0, 2),
        OrphanRecord(late, ORPHAN_UNKNOWN, "", 0, 1),
        OrphanRecord(late, ORPHAN_GONE, "sign.test", mine, 9),
        OrphanRecord(late, ORPHAN_GONE, "sign.test", mine + 1, 100),
        OrphanRecord(_ms(datetime(2026, 4, 1, tzinfo=UTC)), ORPHAN_GONE, "sign.test", mine, 50),
    )


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _count(db: Database, *records: OrphanRecord) -> None:
    with db.write(0) as session:
        OrphanService.add(session, records)


def ask(caller: Caller, **query: str) -> dict[str, Any]:
    response = caller.get(PATH, query_string=MARCH | query)
    assert response.status_code == 200, response.text
    return dict(response.json or {})


def test_answer_has_total_series_and_groups(caller: Caller) -> None:
    body = ask(caller)

    assert (body["from"], body["to"]) == ("2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z")
    assert (body["interval"], body["timezone"]) == ("day", "Europe/Berlin")
    assert body["total"] == {"visits": 19}
    assert len(body["series"]) == 31
    assert body["series"][27:29] == [
        {"start": "2026-03-27T23:00:00Z", "visits": 4},
        {"start": "2026-03-28T23:00:00Z", "visits": 15},
    ]
    assert body["groups"] == [
        {"kind": "gone", "host": "sign.test", "visits": 9},
        {"kind": "unknown", "host": "go.example", "visits": 7},
        {"kind": "root", "host": "sign.test", "visits": 2},
        {"kind": "unknown", "host": "", "visits": 1},
    ]


@pytest.mark.parametrize(
    ("query", "visits"),
    [
        ({"kind": "unknown"}, 8),
        ({"kind": "gone"}, 9),
        ({"kind": "inactive"}, 0),
        ({"host": "go.example"}, 7),
        ({"host": "GO.example:8000"}, 7),
        ({"host": ""}, 1),
        ({"host": "elsewhere.example"}, 0),
        ({"kind": "root", "host": "sign.test"}, 2),
        ({"kind": "root", "host": "go.example"}, 0),
        ({"from": "2026-03-29"}, 15),
        ({"to": "2026-04-01"}, 69),
    ],
)
def test_kind_host_and_period_choose(caller: Caller, query: dict[str, str], visits: int) -> None:
    assert ask(caller, **query)["total"] == {"visits": visits}


def test_groups_are_bounded(caller: Caller, db: Database) -> None:
    moment = _ms(datetime(2026, 3, 5, tzinfo=UTC))
    hosts = [f"h{number:04}.example" for number in range(600)]
    _count(db, *(OrphanRecord(moment, ORPHAN_ROOT, it, caller.workspace_id, 5) for it in hosts))

    body = ask(caller)

    assert body["total"] == {"visits": 19 + 600 * 5}
    assert len(body["groups"]) == 500
    assert [group["host"] for group in body["groups"][:3]] == ["sign.test", "go.example", hosts[0]]


def test_visits_of_other_workspaces_are_not_shown(other_caller: Caller, caller: Caller) -> None:
    assert caller.workspace_id + 1 != other_caller.workspace_id
    assert ask(other_caller)["total"] == {"visits": 3}


def test_no_credential_answers_401(client: FlaskClient) -> None:
    assert client.get(f"/api/v1{PATH}").status_code == 401


def test_missing_scope_answers_403(caller: Caller) -> None:
    assert caller.without("stats:read").get(PATH).status_code == 403


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("from", "yesterday"),
        ("from", "2999-01-01"),
        ("to", "2026-02-30"),
        ("interval", "minute"),
        ("timezone", "Mars/Olympus"),
        ("kind", "bots"),
        ("kind", ""),
        ("host", "h" * 254),
        ("host", "a\0b"),
        ("group_by", "country"),
    ],
)
def test_wrong_parameter_answers_422_and_is_named(
    caller: Caller, parameter: str, value: str
) -> None:
    assert wrong_fields(caller.get(PATH, query_string={parameter: value})) == [parameter]


def test_too_many_buckets_answer_422(caller: Caller) -> None:
    query = {"from": "2025-01-01", "to": "2026-01-01", "interval": "hour"}
    assert wrong_fields(caller.get(PATH, query_string=query)) == ["interval"]
