"""Invitations: a token, shown once, that makes exactly one person a member."""

from __future__ import annotations

import hashlib
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from api.app import create_app
from api.core.database.routing import Database
from api.core.principal import ROLES
from config.settings import Settings
from tests.answers import problem, wrong_fields
from tests.caller import BASE, PASSWORD, Caller

ACCEPT = f"{BASE}/invitations/accept"


def address() -> str:
    return f"invited-{uuid.uuid4().hex[:12]}@example.com"


def invite(caller: Caller, **fields: Any) -> dict[str, Any]:
    response = caller.post("/invitations", {"email": address(), "role": "editor"} | fields)
    assert response.status_code == 201, response.text
    return dict(response.json or {})


def accept(client: FlaskClient, token: str, **fields: Any) -> TestResponse:
    return client.post(ACCEPT, json={"token": token, "password": PASSWORD} | fields)


def join(client: FlaskClient, token: str) -> dict[str, Any]:
    """A new user accepts."""
    response = accept(client, token, name="Ann")
    assert response.status_code == 200, response.text
    return dict(response.json or {})


def test_token_is_shown_once_and_kept_as_a_hash(caller: Caller, db: Database) -> None:
    email = address()
    response = caller.post("/invitations", {"email": email.upper(), "role": "viewer"})
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    made = response.json or {}
    token = made.pop("token")
    assert token.startswith("sp_invite_")
    assert made["email"] == email
    assert made["accepted_at"] is made["revoked_at"] is made["invited_by"] is None
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    path = response.headers["Location"].removeprefix("/api/v1")
    for answer in (caller.get(path), caller.get("/invitations")):
        assert answer.status_code == 200
        assert token not in answer.text
    assert caller.get(path).json == made
    with db.read_directory() as session:
        row = session.execute(
            text("SELECT * FROM invitations WHERE id = :id"), {"id": int(made["id"])}
        ).one()
    assert bytes(row.token_hash) == hashlib.sha256(token.encode()).digest()
    assert token not in repr(row)


def test_new_user_sets_name_and_password(caller: Caller, client: FlaskClient) -> None:
    made = invite(caller)
    joined = join(client, made["token"])
    assert joined.pop("user_id").isdigit()
    assert joined == {
        "email": made["email"],
        "workspace_id": str(caller.workspace_id),
        "workspace_name": "Test",
        "role": "editor",
    }
    (member,) = (caller.get("/members").json or {})["data"]
    assert (member["name"], member["email"], member["role"]) == ("Ann", made["email"], "editor")
    assert (caller.get(f"/invitations/{made['id']}").json or {})["accepted_at"] is not None


def test_existing_user_proves_the_password(
    caller: Caller, other_caller: Caller, client: FlaskClient
) -> None:
    email = address()
    first = join(client, invite(caller, email=email)["token"])
    token = invite(other_caller, email=email, role="viewer")["token"]
    problem(accept(client, token, password="not the password at all"), 403, "sign-in-refused")
    assert (other_caller.get("/members").json or {})["data"] == []
    accepted = accept(client, token, name="Another name")
    assert accepted.status_code == 200
    assert (accepted.json or {})["user_id"] == first["user_id"]
    (member,) = (other_caller.get("/members").json or {})["data"]
    assert (member["name"], member["role"]) == ("Ann", "viewer")


def test_token_is_used_once(caller: Caller, client: FlaskClient) -> None:
    token = invite(caller)["token"]
    join(client, token)
    problem(accept(client, token, name="Eve"), 410, "invitation-over")
    problem(accept(client, token), 410, "invitation-over")


def test_two_who_accept_at_once_make_one_member(caller: Caller) -> None:
    token = invite(caller)["token"]
    statuses: list[int] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        client = caller.app.test_client()
        barrier.wait()
        statuses.append(accept(client, token, name="Ann").status_code)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 410, 410, 410]
    assert len((caller.get("/members").json or {})["data"]) == 1


def test_what_is_over_is_told_alike(caller: Caller, client: FlaskClient, db: Database) -> None:
    used, revoked, expired = (invite(caller) for _ in range(3))
    join(client, used["token"])
    assert caller.delete(f"/invitations/{revoked['id']}").status_code == 204
    with db.write_directory() as session:
        session.execute(
            text("UPDATE invitations SET expires_at = now() WHERE id = :id"),
            {"id": int(expired["id"])},
        )
    answers = []
    for made in (used, revoked, expired):
        body = problem(accept(client, made["token"], name="Ann"), 410, "invitation-over")
        answers.append({name: body[name] for name in body if name != "instance"})
    assert answers[0] == answers[1] == answers[2]
    problem(accept(client, "sp_invite_" + "x" * 43, name="Ann"), 404)
    problem(accept(client, caller.key, name="Ann"), 404)


def test_revoking_what_was_accepted_changes_nothing(caller: Caller, client: FlaskClient) -> None:
    made = invite(caller)
    join(client, made["token"])
    assert caller.delete(f"/invitations/{made['id']}").status_code == 204
    assert (caller.get(f"/invitations/{made['id']}").json or {})["revoked_at"] is None
    assert len((caller.get("/members").json or {})["data"]) == 1


def test_new_invitation_takes_the_place_of_the_open_one(
    caller: Caller, client: FlaskClient
) -> None:
    first = invite(caller, role="owner")
    second = invite(caller, email=first["email"], role="viewer")
    problem(accept(client, first["token"], name="Ann"), 410)
    assert join(client, second["token"])["role"] == "viewer"


def test_member_is_not_invited_again(caller: Caller, client: FlaskClient) -> None:
    made = invite(caller)
    join(client, made["token"])
    again = caller.post("/invitations", {"email": made["email"], "role": "owner"})
    problem(again, 409, "already-member")


def test_nobody_invites_to_a_role_that_gives_more_than_they_have(caller: Caller) -> None:
    narrow = caller.with_scopes("workspace:admin", *ROLES["viewer"])
    for role in ("owner", "editor"):
        body = {"email": address(), "role": role}
        problem(narrow.post("/invitations", body), 403, "insufficient-scope")
    assert narrow.post("/invitations", {"email": address(), "role": "viewer"}).status_code == 201


@pytest.mark.parametrize("change", ["removed", "lowered"])
def test_invitations_of_who_may_invite_no_more_are_over(
    caller: Caller, client: FlaskClient, change: str
) -> None:
    owner, other = caller.with_role("owner"), caller.with_role("owner")
    token, others = invite(owner, role="owner")["token"], invite(other, role="owner")["token"]
    assert {it["invited_by"] for it in (caller.get("/invitations").json or {})["data"]} == {
        str(owner.user_id),
        str(other.user_id),
    }
    path = f"/members/{owner.user_id}"
    answer = caller.delete(path) if change == "removed" else caller.patch(path, {"role": "editor"})
    assert answer.status_code < 300
    problem(accept(client, token, name="Ann"), 410, "invitation-over")
    join(client, others)


def test_acceptance_is_told_with_who_and_from_where(caller: Caller, client: FlaskClient) -> None:
    made = invite(caller)
    joined = join(client, made["token"])
    (event,) = (caller.get("/audit-events?action=invitation.accept").json or {})["data"]
    assert event["actor"] == {"kind": "user", "id": joined["user_id"], "name": made["email"]}
    assert event["target"] == {"kind": "invitation", "id": made["id"]}
    assert event["address"] == "127.0.0.1"
    assert event["details"] == {"role": "editor", "new_user": True}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"email": "no address"}, "/email"),
        ({"email": "ann@"}, "/email"),
        ({"email": "a" * 250 + "@example.com"}, "/email"),
        ({"email": "ann@exa\u212aple.com"}, "/email"),
        ({"role": "admin"}, "/role"),
        ({"role": None}, "/role"),
        ({"expires_at": "2026-01-02T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2090-01-02T00:00:00Z"}, "/expires_at"),
        ({"token": "x"}, "/token"),
    ],
)
def test_wrong_field_is_named(caller: Caller, fields: dict[str, Any], wrong: str) -> None:
    body = {"email": address(), "role": "viewer"} | fields
    assert wrong_fields(caller.post("/invitations", body)) == [wrong]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, "/name"),
        ({"name": " "}, "/name"),
        ({"name": "Ann", "password": "short"}, "/password"),
        ({"name": "Ann", "password": None}, "/password"),
        ({"name": "Ann", "password": "password1234"}, "/password"),
        ({"name": "Ann", "role": "owner"}, "/role"),
    ],
)
def test_wrong_acceptance_leaves_the_invitation_open(
    caller: Caller, client: FlaskClient, fields: dict[str, Any], wrong: str
) -> None:
    token = invite(caller)["token"]
    assert wrong_fields(accept(client, token, **fields)) == [wrong]
    join(client, token)


def test_many_tries_from_one_address_are_slowed_down(
    environ: dict[str, str], caller: Caller
) -> None:
    strict = create_app(Settings.load(environ | {"SIGN_IN_TRIES_PER_MINUTE": "3"}))
    here = f"2001:db8:{uuid.uuid4().hex[:4]}:1::"
    token = invite(caller)["token"]

    def attempt(number: int, host: str = here) -> TestResponse:
        return strict.test_client().post(
            ACCEPT,
            json={"token": "sp_invite_" + "y" * 43, "password": PASSWORD},
            environ_base={"REMOTE_ADDR": f"{host}{number}"},
        )

    assert [attempt(number).status_code for number in range(1, 4)] == [404] * 3
    refused = attempt(4)
    problem(refused, 429, "too-many-requests")
    assert int(refused.headers["Retry-After"]) > 0
    assert attempt(1, here.replace(":1::", ":2::")).status_code == 404
    join(caller.app.test_client(), token)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_invitations_of_another_workspace_are_unknown(
    caller: Caller, other_caller: Caller, method: str
) -> None:
    made = invite(caller)
    for identifier in (made["id"], 1, 2**63):
        problem(other_caller.request(method, f"/invitations/{identifier}"), 404)
    assert (other_caller.get("/invitations").json or {})["data"] == []
    assert (caller.get(f"/invitations/{made['id']}").json or {})["revoked_at"] is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/invitations"),
        ("POST", "/invitations"),
        ("GET", "/invitations/1"),
        ("DELETE", "/invitations/1"),
    ],
)
def test_invitations_are_for_administrators(
    client: FlaskClient, caller: Caller, method: str, path: str
) -> None:
    problem(client.open(BASE + path, method=method, json={}), 401)
    problem(caller.with_role("editor").request(method, path, json={}), 403, "insufficient-scope")
