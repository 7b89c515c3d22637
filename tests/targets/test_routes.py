"""Block rules of a workspace, through the API."""

from __future__ import annotations

import pytest
from werkzeug.test import TestResponse

from tests.answers import problem, wrong_fields
from tests.caller import Caller

PATH = "/blocked-targets"


def block(caller: Caller, value: str, kind: str = "host", **fields: object) -> TestResponse:
    return caller.post(PATH, {"kind": kind, "value": value, **fields})


def test_rule_is_made_read_listed_and_removed(caller: Caller) -> None:
    made = block(caller, "EVIL.example", reason="Phishing")
    assert made.status_code == 201
    rule = made.json or {}
    assert made.headers["Location"] == f"/api/v1{PATH}/{rule['id']}"
    assert rule == {
        "id": rule["id"],
        "kind": "host",
        "value": "evil.example",
        "status": 451,
        "reason": "Phishing",
        "created_at": rule["created_at"],
    }
    assert caller.get(f"{PATH}/{rule['id']}").json == rule
    assert caller.get(PATH).json == {"data": [rule], "next_cursor": None}
    assert caller.delete(f"{PATH}/{rule['id']}").status_code == 204
    problem(caller.get(f"{PATH}/{rule['id']}"), 404)
    problem(caller.delete(f"{PATH}/{rule['id']}"), 404)


def test_changes_are_in_the_audit_log(caller: Caller) -> None:
    identifier = (block(caller, "evil.example", status=410).json or {})["id"]
    assert caller.delete(f"{PATH}/{identifier}").status_code == 204
    deleted, created = (caller.get("/audit-events").json or {})["data"][:2]
    assert created["action"] == "blocked_target.create"
    assert created["details"]["value"] == "evil.example"
    assert deleted["action"] == "blocked_target.delete"
    for event in (created, deleted):
        assert event["target"] == {"kind": "blocked_target", "id": identifier}


def test_list_goes_on_by_cursor(caller: Caller) -> None:
    hosts = [f"evil{number}.example" for number in range(5)]
    for host in hosts:
        assert block(caller, host).status_code == 201
    seen, path = [], f"{PATH}?limit=2"
    while path:
        page = caller.get(path).json or {}
        seen += [rule["value"] for rule in page["data"]]
        cursor = page["next_cursor"]
        path = f"{PATH}?limit=2&cursor={cursor}" if cursor else ""
    assert seen == hosts[::-1]


def test_same_rule_twice_is_a_conflict(caller: Caller, other_caller: Caller) -> None:
    assert block(caller, "evil.example").status_code == 201
    problem(block(caller, "Evil.Example.", status=410), 409, "already-blocked")
    assert block(other_caller, "evil.example").status_code == 201


def test_rules_of_another_workspace_are_not_there(caller: Caller, other_caller: Caller) -> None:
    theirs = (block(other_caller, "evil.example").json or {})["id"]
    problem(caller.get(f"{PATH}/{theirs}"), 404)
    problem(caller.delete(f"{PATH}/{theirs}"), 404)
    assert caller.get(PATH).json == {"data": [], "next_cursor": None}
    assert other_caller.get(f"{PATH}/{theirs}").status_code == 200
    caller.create_link("https://evil.example/")


def test_rules_need_the_scope_of_administration(caller: Caller) -> None:
    poor = caller.without("workspace:admin")
    for answer in (poor.get(PATH), block(poor, "evil.example"), poor.delete(f"{PATH}/1")):
        problem(answer, 403, "insufficient-scope")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, ["/kind", "/value"]),
        ({"kind": "regex", "value": "x"}, ["/kind"]),
        ({"kind": "host", "value": "a b"}, ["/value"]),
        ({"kind": "pattern", "value": "*"}, ["/value"]),
        ({"kind": "host", "value": "a.example", "status": 404}, ["/status"]),
        ({"kind": "host", "value": "a.example", "status": "451"}, ["/status"]),
        ({"kind": "host", "value": "a.example", "reason": ""}, ["/reason"]),
        ({"kind": "host", "value": "a.example", "reason": "x" * 501}, ["/reason"]),
        ({"kind": "host", "value": "a.example", "more": 1}, ["/more"]),
    ],
)
def test_what_is_no_rule_is_refused(
    caller: Caller, body: dict[str, object], wrong: list[str]
) -> None:
    assert wrong_fields(caller.post(PATH, body)) == wrong


def test_workspace_has_room_for_so_many_patterns(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.targets.service._MOST_OF_WORKSPACE", (3, 1))
    assert block(caller, "*//evil.example/*", "pattern").status_code == 201
    problem(block(caller, "*//bad.example/*", "pattern"), 409, "too-many-rules")
    assert block(caller, "a.example").status_code == 201
    assert block(caller, "b.example").status_code == 201
    problem(block(caller, "c.example"), 409, "too-many-rules")
    assert len((caller.get(PATH).json or {})["data"]) == 3
