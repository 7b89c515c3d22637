"""Workspaces, as those who may manage one see it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.answers import problem, wrong_fields
from tests.caller import BASE, Caller


def test_only_the_own_workspace_is_listed(caller: Caller, other_caller: Caller) -> None:
    answer = caller.get("/workspaces").json or {}
    assert answer["next_cursor"] is None
    (workspace,) = answer["data"]
    assert workspace["id"] == str(caller.workspace_id)
    assert workspace["reuse_deleted_slugs"] is False
    assert caller.get(f"/workspaces/{caller.workspace_id}").json == workspace


def test_name_and_settings_can_be_changed(caller: Caller) -> None:
    path = f"/workspaces/{caller.workspace_id}"
    before = caller.get(path).json or {}
    changed = caller.patch(path, {"name": "Ümlaut GmbH", "reuse_deleted_slugs": True}).json or {}
    assert changed["name"] == "Ümlaut GmbH"
    assert changed["reuse_deleted_slugs"] is True
    assert changed["updated_at"] > before["updated_at"]
    assert caller.get(path).json == changed
    assert caller.patch(path, {}).json == changed


def test_retention_of_clicks_can_be_set_and_given_back_to_the_installation(caller: Caller) -> None:
    path = f"/workspaces/{caller.workspace_id}"
    assert (caller.get(path).json or {})["click_retention_days"] is None
    for days in (1, 36_500, None):
        changed = caller.patch(path, {"click_retention_days": days}).json or {}
        assert changed["click_retention_days"] == days
        assert caller.get(path).json == changed


@pytest.mark.parametrize(
    ("patch", "wrong"),
    [
        ({"name": ""}, "/name"),
        ({"name": "  "}, "/name"),
        ({"name": None}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"reuse_deleted_slugs": "yes"}, "/reuse_deleted_slugs"),
        ({"reuse_deleted_slugs": None}, "/reuse_deleted_slugs"),
        ({"click_retention_days": 0}, "/click_retention_days"),
        ({"click_retention_days": -1}, "/click_retention_days"),
        ({"click_retention_days": 36_501}, "/click_retention_days"),
        ({"click_retention_days": 1.5}, "/click_retention_days"),
        ({"click_retention_days": "30"}, "/click_retention_days"),
        ({"click_retention_days": True}, "/click_retention_days"),
        ({"id": "1"}, "/id"),
    ],
)
def test_wrong_change_is_named(caller: Caller, patch: dict[str, Any], wrong: str) -> None:
    assert wrong_fields(caller.patch(f"/workspaces/{caller.workspace_id}", patch)) == [wrong]


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("PATCH", {"name": "stolen"})])
def test_another_workspace_answers_404(
    caller: Caller, other_caller: Caller, method: str, body: Any
) -> None:
    for identifier in (caller.workspace_id, 1, 2**63):
        path = f"/workspaces/{identifier}"
        problem(other_caller.request(method, path, json=body), 404)
    assert caller.get(f"/workspaces/{caller.workspace_id}").json["name"] == "Test"  # type: ignore[index]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/workspaces"), ("GET", "/workspaces/{id}"), ("PATCH", "/workspaces/{id}")],
)
def test_workspaces_are_for_administrators(
    client: FlaskClient, caller: Caller, method: str, path: str
) -> None:
    path = path.format(id=caller.workspace_id)
    problem(client.open(BASE + path, method=method, json={}), 401)
    narrow = caller.without("workspace:admin")
    problem(narrow.request(method, path, json={}), 403, "insufficient-scope")


def test_user_makes_a_workspace_of_their_own(caller: Caller) -> None:
    owner = caller.with_role("owner")
    response = owner.post("/workspaces", {"name": "Side project"})
    assert response.status_code == 201
    made = response.json or {}
    assert "key" not in made
    assert response.headers["Location"] == f"/api/v1/workspaces/{made['id']}"
    problem(owner.get(f"/workspaces/{made['id']}"), 404)
    memberships = (owner.get("/users/me").json or {})["memberships"]
    assert {"workspace_id": made["id"], "workspace_name": "Side project", "role": "owner"} in (
        memberships
    )


def test_key_of_a_new_workspace_has_the_scopes_of_who_made_it(caller: Caller) -> None:
    owner = caller.with_role("owner")
    scopes = ["links:read", "workspace:admin"]
    key = (owner.post("/api-keys", {"name": "narrow", "scopes": scopes}).json or {})["key"]
    narrow = Caller(caller.app, caller.identity, caller.workspace_id, key, owner.user_id)
    response = narrow.post("/workspaces", {"name": "Side project", "key_name": "First"})
    assert response.headers["Cache-Control"] == "no-store"
    made = response.json or {}
    there = Caller(caller.app, caller.identity, int(made["id"]), made["key"], owner.user_id)
    assert there.get(f"/workspaces/{made['id']}").status_code == 200
    (listed,) = (there.get("/api-keys").json or {})["data"]
    assert (listed["name"], listed["scopes"]) == ("First", scopes)
    assert listed["user_id"] == str(owner.user_id)
    problem(there.post("/links", {"url": "https://example.com/"}), 403, "insufficient-scope")
    for admin in (caller, there):
        told = admin.get("/audit-events?action=workspace.create").json or {}
        (event,) = told["data"]
        assert event["target"] == {"kind": "workspace", "id": made["id"]}
        assert "Side project" not in json.dumps(event)
        assert event["actor"]["id"] == str(owner.user_id)


def test_workspace_has_no_workspaces(caller: Caller) -> None:
    problem(caller.post("/workspaces", {"name": "Nobody's"}), 403, "user-needed")
    assert wrong_fields(caller.post("/workspaces", {"name": " "})) == ["/name"]


def test_user_has_so_many_workspaces_and_no_more(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.identity.service.MAX_WORKSPACES", 2)
    owner = caller.with_role("owner")
    assert owner.post("/workspaces", {"name": "One"}).status_code == 201
    problem(owner.post("/workspaces", {"name": "Two"}), 409, "too-many-workspaces")
    assert len((owner.get("/users/me").json or {})["memberships"]) == 2
