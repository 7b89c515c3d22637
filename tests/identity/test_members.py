"""Members and their roles: what each may do, and that a change holds at once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.core.principal import ROLES, SCOPES
from api.identity.members import LastOwner, MemberService
from api.identity.service import IdentityService
from api.identity.users import UserService
from tests.answers import problem, wrong_fields
from tests.caller import BASE, Caller


@pytest.fixture
def members(app: Flask) -> MemberService:
    service: MemberService = app.extensions["signpost.services"][MemberService]
    return service


@pytest.fixture
def users(app: Flask) -> UserService:
    service: UserService = app.extensions["signpost.services"][UserService]
    return service


def path_of(member: Caller) -> str:
    return f"/members/{member.user_id}"


# A request that needs each scope, and nothing else.
NEEDS: dict[str, tuple[str, str, Any]] = {
    "links:read": ("GET", "/links", None),
    "links:write": ("POST", "/links", {"url": "https://example.com/"}),
    "stats:read": ("GET", "/stats", None),
    "workspace:admin": ("GET", "/members", None),
}


@pytest.mark.parametrize("scope", NEEDS)
@pytest.mark.parametrize("role", ROLES)
def test_role_decides_what_a_key_gives(caller: Caller, role: str, scope: str) -> None:
    method, path, body = NEEDS[scope]
    answer = caller.with_role(role).request(method, path, json=body)
    if scope in ROLES[role]:
        assert answer.status_code in (200, 201)
    else:
        problem(answer, 403, "insufficient-scope")


def test_owner_has_every_scope_and_a_viewer_changes_nothing() -> None:
    assert ROLES["owner"] == set(SCOPES)
    assert ROLES["viewer"] < ROLES["editor"] < ROLES["owner"]
    assert "links:write" not in ROLES["viewer"]


def test_member_is_shown_with_address_and_role(caller: Caller) -> None:
    editor = caller.with_role("editor", "ed@members.example")
    member = caller.get(path_of(editor)).json or {}
    assert member.pop("created_at") == member.pop("updated_at")
    assert member == {
        "user_id": str(editor.user_id),
        "email": "ed@members.example",
        "name": "Editor",
        "role": "editor",
        "disabled_at": None,
    }
    (listed,) = (caller.get("/members").json or {})["data"]
    assert listed["user_id"] == member["user_id"]


def test_members_are_listed_page_by_page(caller: Caller, other_caller: Caller) -> None:
    there = [str(caller.with_role("viewer").user_id) for _ in range(5)]
    other_caller.with_role("viewer")
    met: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        answer = caller.get("/members", query_string=query).json or {}
        met += [member["user_id"] for member in answer["data"]]
        if answer["next_cursor"] is None:
            break
        query["cursor"] = answer["next_cursor"]
    assert met == there


def test_lowered_role_holds_at_once(caller: Caller) -> None:
    member = caller.with_role("owner")
    caller.with_role("owner")
    assert member.get("/members").status_code == 200
    assert member.post("/links", {"url": "https://example.com/"}).status_code == 201
    changed = caller.patch(path_of(member), {"role": "viewer"})
    assert (changed.json or {})["role"] == "viewer"
    problem(member.get("/members"), 403, "insufficient-scope")
    problem(member.post("/links", {"url": "https://example.com/"}), 403, "insufficient-scope")
    assert member.get("/links").status_code == 200


def test_raised_role_gives_no_more_than_the_key_was_made_for(caller: Caller) -> None:
    member = caller.with_role("viewer")
    caller.patch(path_of(member), {"role": "owner"})
    assert member.get("/members").status_code == 200
    made = member.post("/api-keys", {"name": "narrow", "scopes": ["links:read"]}).json or {}
    assert made["user_id"] == str(member.user_id)
    narrow = Caller(caller.app, caller.identity, caller.workspace_id, made["key"])
    assert narrow.get("/links").status_code == 200
    problem(narrow.get("/members"), 403, "insufficient-scope")


def test_removed_member_is_out_at_once_and_for_good(caller: Caller, members: MemberService) -> None:
    member = caller.with_role("editor")
    assert member.get("/links").status_code == 200
    assert caller.delete(path_of(member)).status_code == 204
    problem(member.get("/links"), 401, "unauthenticated")
    problem(caller.get(path_of(member)), 404)
    problem(caller.delete(path_of(member)), 404)
    # Whoever is asked in again does not bring old keys along.
    members.add_member(caller.workspace_id, member.user_id, "editor")
    problem(member.get("/links"), 401, "unauthenticated")


def test_disabled_user_is_out_at_once_until_enabled(
    caller: Caller, users: UserService, members: MemberService
) -> None:
    member = caller.with_role("editor")
    assert member.get("/links").status_code == 200
    assert members.scopes_of(member.user_id, caller.workspace_id) == ROLES["editor"]
    users.disable_user(member.user_id)
    problem(member.get("/links"), 401, "unauthenticated")
    assert members.scopes_of(member.user_id, caller.workspace_id) == frozenset()
    assert (caller.get(path_of(member)).json or {})["disabled_at"] is not None
    users.enable_user(member.user_id)
    assert member.get("/links").status_code == 200


def test_scopes_are_those_of_the_role_in_that_workspace(
    caller: Caller, other_caller: Caller, members: MemberService
) -> None:
    user = caller.with_role("viewer").user_id
    members.add_member(other_caller.workspace_id, user, "owner")
    assert members.scopes_of(user, caller.workspace_id) == ROLES["viewer"]
    assert members.scopes_of(user, other_caller.workspace_id) == ROLES["owner"]
    assert members.scopes_of(user, 1) == members.scopes_of(1, caller.workspace_id) == frozenset()
    assert members.find_memberships(user) == [
        (caller.workspace_id, "Test", "viewer"),
        (other_caller.workspace_id, "Test", "owner"),
    ]


def test_workspace_keeps_an_owner(caller: Caller) -> None:
    owner = caller.with_role("owner")
    for admin in (caller, owner):
        problem(admin.delete(path_of(owner)), 409, "last-owner")
        problem(admin.patch(path_of(owner), {"role": "editor"}), 409, "last-owner")
    assert owner.patch(path_of(owner), {"role": "owner"}).status_code == 200
    second = caller.with_role("owner")
    assert owner.delete(path_of(owner)).status_code == 204
    problem(second.delete(path_of(second)), 409, "last-owner")


def test_owner_who_is_disabled_is_none(caller: Caller, users: UserService) -> None:
    owner, gone = caller.with_role("owner"), caller.with_role("owner")
    users.disable_user(gone.user_id)
    problem(caller.delete(path_of(owner)), 409, "last-owner")
    assert caller.delete(path_of(gone)).status_code == 204


def test_two_owners_who_leave_at_once_do_not_both_leave(
    app: Flask, identity: IdentityService, members: MemberService
) -> None:
    for _ in range(5):
        caller = Caller.of_new_workspace(app, identity)
        pair = [caller.with_role("owner").user_id for _ in range(2)]
        barrier = threading.Barrier(2)
        refused: list[int] = []
        threads = [
            threading.Thread(target=leave, args=(members, caller, user, barrier, refused))
            for user in pair
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (left,) = refused
        (member,) = (caller.get("/members").json or {})["data"]
        assert (member["user_id"], member["role"]) == (str(left), "owner")


def leave(
    members: MemberService,
    caller: Caller,
    user: int,
    barrier: threading.Barrier,
    refused: list[int],
) -> None:
    barrier.wait()
    try:
        members.remove_member(caller.workspace_id, user)
    except LastOwner:
        refused.append(user)


def test_nobody_grants_a_role_that_gives_more_than_they_have(caller: Caller) -> None:
    member = caller.with_role("viewer")
    narrow = caller.with_scopes("workspace:admin", "links:read", "stats:read")
    problem(narrow.patch(path_of(member), {"role": "owner"}), 403, "insufficient-scope")
    problem(narrow.patch(path_of(member), {"role": "editor"}), 403, "insufficient-scope")
    assert narrow.patch(path_of(member), {"role": "viewer"}).status_code == 200
    assert (caller.get(path_of(member)).json or {})["role"] == "viewer"


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, "/role"),
        ({"role": "admin"}, "/role"),
        ({"role": None}, "/role"),
        ({"role": "viewer", "name": "x"}, "/name"),
    ],
)
def test_wrong_change_is_named(caller: Caller, body: dict[str, Any], wrong: str) -> None:
    assert wrong_fields(caller.patch(path_of(caller.with_role("editor")), body)) == [wrong]


@pytest.mark.parametrize(
    ("method", "body"), [("GET", None), ("PATCH", {"role": "viewer"}), ("DELETE", None)]
)
def test_members_of_another_workspace_are_unknown(
    caller: Caller, other_caller: Caller, method: str, body: Any
) -> None:
    for identifier in (caller.with_role("editor").user_id, 1, 2**63):
        problem(other_caller.request(method, f"/members/{identifier}", json=body), 404)


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_members_are_for_administrators(client: FlaskClient, caller: Caller, method: str) -> None:
    editor = caller.with_role("editor")
    problem(client.open(BASE + path_of(editor), method=method, json={}), 401)
    problem(editor.request(method, path_of(editor), json={"role": "owner"}), 403)
    problem(editor.get("/members"), 403)
