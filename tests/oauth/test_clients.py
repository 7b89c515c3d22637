"""Clients: registered, changed and deleted; what they may want; their secrets."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from sqlalchemy import text

from api.core.database.routing import Database
from tests.answers import problem, wrong_fields
from tests.caller import Caller
from tests.oauth.programs import CALLBACK, Program, oauth_error

CREDENTIALS = ["client_credentials"]
CODE = ["authorization_code", "refresh_token"]


def body(**fields: Any) -> dict[str, Any]:
    return {"name": "P", "grant_types": CREDENTIALS, "scopes": ["links:read"]} | fields


def test_registered_client_shows_its_secret_once(caller: Caller, db: Database) -> None:
    answer = caller.post("/oauth-clients", body())
    made = answer.json or {}
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Location"] == f"/api/v1/oauth-clients/{made['id']}"
    secret = made.pop("client_secret")
    assert len(secret) > 43
    assert caller.get(f"/oauth-clients/{made['id']}").json == made
    assert (caller.get("/oauth-clients").json or {})["data"] == [made]
    with db.read_directory() as session:
        stored = session.scalar(
            text("SELECT secret_hash FROM oauth_clients WHERE id = :id"), {"id": int(made["id"])}
        )
    assert bytes(stored) == hashlib.sha256(secret.encode()).digest()


def test_public_client_has_no_secret(caller: Caller) -> None:
    public = body(client_type="public", grant_types=CODE, redirect_uris=[CALLBACK])
    made = caller.post("/oauth-clients", public).json or {}
    assert made["client_secret"] is None
    problem(caller.post(f"/oauth-clients/{made['id']}/secret"), 409, "public-client")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"client_type": "public"}, "/grant_types"),
        ({"client_type": "secret"}, "/client_type"),
        ({"grant_types": []}, "/grant_types"),
        ({"grant_types": ["password"]}, "/grant_types/0"),
        ({"grant_types": ["implicit"]}, "/grant_types/0"),
        ({"grant_types": ["refresh_token"]}, "/grant_types"),
        ({"grant_types": CODE}, "/redirect_uris"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["root"]}, "/scopes/0"),
        ({"name": "  "}, "/name"),
        ({"client_id": "mine"}, "/client_id"),
        ({"secret_hash": "x"}, "/secret_hash"),
    ],
)
def test_what_does_not_go_together_is_refused(
    fields: dict[str, Any], pointer: str, caller: Caller
) -> None:
    assert wrong_fields(caller.post("/oauth-clients", body(**fields))) == [pointer]


@pytest.mark.parametrize(
    ("uri", "good"),
    [
        (CALLBACK, True),
        ("https://app.example.com:8443/a?b=c", True),
        ("http://127.0.0.1:8976/callback", True),
        ("http://[::1]:8976/", True),
        ("http://localhost/", True),
        ("com.example.app:/callback", True),
        ("http://app.example.com/", False),
        ("http://localhost.example.com/", False),
        ("http://127.0.0.1.example.com/", False),
        ("https://app.example.com/#fragment", False),
        ("https://app.example.com/#", False),
        ("https://user@app.example.com/", False),
        ("https://app.example.com@evil.example/", False),
        ("https:///callback", False),
        ("//app.example.com/", False),
        ("/callback", False),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("file:///etc/passwd", False),
        ("app:/callback", False),
        ("https://app.example.com/\r\nX: y", False),
        ("https://app.example.com/ x", False),
        ('https://app.example.com/"', False),
        ("https://app.example.com\\@evil.example/", False),
        ("https://bücher.example/", False),
        ("https://app.example.com:port/", False),
        ("https://[::1/", False),
    ],
)
def test_redirect_uris_lead_only_where_they_may(uri: str, good: bool, caller: Caller) -> None:
    answer = caller.post("/oauth-clients", body(grant_types=CODE, redirect_uris=[uri]))
    if good:
        assert answer.status_code == 201, answer.text
    else:
        assert wrong_fields(answer) == ["/redirect_uris/0"]


def test_nobody_grants_a_client_more_than_they_may(caller: Caller) -> None:
    admin = caller.with_scopes("workspace:admin")
    problem(admin.post("/oauth-clients", body()), 403, "insufficient-scope")
    made = admin.post("/oauth-clients", body(scopes=["workspace:admin"])).json or {}
    more = {"scopes": ["workspace:admin", "links:read"]}
    problem(admin.patch(f"/oauth-clients/{made['id']}", more), 403, "insufficient-scope")
    assert admin.patch(f"/oauth-clients/{made['id']}", {"name": "New"}).status_code == 200


def test_nobody_takes_over_a_client_that_may_more_than_they(
    caller: Caller, program: Program
) -> None:
    admin = caller.with_scopes("workspace:admin")
    path = f"/oauth-clients/{program.id}"
    problem(admin.post(f"{path}/secret"), 403, "insufficient-scope")
    elsewhere = {"grant_types": CODE, "redirect_uris": ["https://elsewhere.example/"]}
    problem(admin.patch(path, elsewhere), 403, "insufficient-scope")
    assert program.ask(grant_type="client_credentials").status_code == 200
    assert caller.patch(path, elsewhere).status_code == 200


def test_change_is_checked_as_a_whole(caller: Caller) -> None:
    made = caller.post("/oauth-clients", body()).json or {}
    path = f"/oauth-clients/{made['id']}"
    assert wrong_fields(caller.patch(path, {"grant_types": CODE})) == ["/redirect_uris"]
    changed = caller.patch(path, {"grant_types": CODE, "redirect_uris": [CALLBACK]}).json or {}
    assert changed["redirect_uris"] == [CALLBACK]
    assert wrong_fields(caller.patch(path, {"redirect_uris": []})) == ["/redirect_uris"]
    assert caller.patch(path, {}).json == changed


def test_what_is_named_twice_counts_once(caller: Caller) -> None:
    twice = {"scopes": ["stats:read", "links:read", "stats:read"]}
    made = caller.post("/oauth-clients", body(**twice)).json or {}
    assert made["scopes"] == ["links:read", "stats:read"]
    more = {"grant_types": ["client_credentials", "client_credentials"], **twice}
    changed = caller.patch(f"/oauth-clients/{made['id']}", more).json or {}
    assert changed["scopes"] == ["links:read", "stats:read"]
    assert changed["grant_types"] == ["client_credentials"]


def test_new_secret_replaces_the_old_one(program: Program, caller: Caller) -> None:
    answer = caller.post(f"/oauth-clients/{program.id}/secret")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    oauth_error(program.ask(grant_type="client_credentials"), "invalid_client", 401)
    secret = (answer.json or {})["client_secret"]
    again = program.post("/oauth/token", secret=secret, grant_type="client_credentials")
    assert again.status_code == 200


def test_deleted_client_and_its_tokens_are_refused(program: Program, caller: Caller) -> None:
    token = program.access_token()
    assert program.links(token).status_code == 200
    assert caller.delete(f"/oauth-clients/{program.id}").status_code == 204
    problem(program.links(token), 401, "unauthenticated")
    oauth_error(program.ask(grant_type="client_credentials"), "invalid_client", 401)
    problem(caller.get(f"/oauth-clients/{program.id}"), 404, "not-found")
    problem(caller.delete(f"/oauth-clients/{program.id}"), 404, "not-found")


def test_scope_that_a_client_loses_is_gone_from_its_tokens(
    program: Program, caller: Caller
) -> None:
    token = program.access_token()
    path = f"/oauth-clients/{program.id}"
    assert caller.patch(path, {"scopes": ["links:read"]}).status_code == 200
    problem(program.links(token), 401, "unauthenticated")
    renewed = program.token()
    assert renewed["scope"] == "links:read"
    assert program.links(str(renewed["access_token"])).status_code == 200


def test_clients_are_read_page_by_page(caller: Caller) -> None:
    for number in range(3):
        caller.post("/oauth-clients", body(name=f"Program {number}"))
    first = caller.get("/oauth-clients?limit=2").json or {}
    second = caller.get(f"/oauth-clients?limit=2&cursor={first['next_cursor']}").json or {}
    names = [client["name"] for client in first["data"] + second["data"]]
    assert names == ["Program 2", "Program 1", "Program 0"]
    assert second["next_cursor"] is None
