"""API keys: shown once, kept as a hash, refused at once when they end."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, text

from api.app import create_app
from api.core.database.routing import Database
from api.core.errors import Unavailable
from api.core.principal import SCOPES
from api.identity.service import IdentityService
from config.settings import Settings
from tests.answers import problem, wrong_fields
from tests.caller import BASE, Caller

# Within this time a process asks again whether a key is still valid.
LOOKED_UP_SECONDS = 4


def make_key(caller: Caller, **fields: Any) -> dict[str, Any]:
    response = caller.post("/api-keys", {"name": "CI"} | fields)
    assert response.status_code == 201, response.text
    return dict(response.json or {})


def holder(caller: Caller, key: str) -> Caller:
    return Caller(caller.app, caller.identity, caller.workspace_id, key)


def age(db: Database, key_id: str, column: str, by: timedelta) -> None:
    """Move a moment of a key into the past."""
    with db.write_directory() as session:
        session.execute(
            text(f"UPDATE api_keys SET {column} = now() - :by WHERE id = :id"),
            {"by": by, "id": int(key_id)},
        )


def test_key_is_shown_once(caller: Caller) -> None:
    response = caller.post("/api-keys", {"name": " CI ", "scopes": ["links:read", "links:read"]})
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    made = response.json or {}
    key = made.pop("key")
    assert len(key) == 51
    assert key.startswith(made["prefix"])
    assert made["prefix"].startswith("sp_live_")
    assert made["scopes"] == ["links:read"]
    assert made["last_used_at"] is made["expires_at"] is made["revoked_at"] is None
    path = response.headers["Location"].removeprefix("/api/v1")
    for answer in (caller.get(path), caller.get("/api-keys")):
        assert answer.status_code == 200
        assert key not in answer.text
    assert caller.get(path).json == made


def test_only_a_hash_of_the_key_is_stored(caller: Caller, db: Database) -> None:
    made = make_key(caller)
    with db.read_directory() as session:
        row = session.execute(
            text("SELECT * FROM api_keys WHERE id = :id"), {"id": int(made["id"])}
        ).one()
    assert bytes(row.key_hash) == hashlib.sha256(made["key"].encode()).digest()
    assert made["key"] not in repr(row)


def test_key_has_all_scopes_unless_some_are_named(caller: Caller) -> None:
    assert make_key(caller)["scopes"] == sorted(SCOPES)
    narrow = holder(caller, make_key(caller, scopes=["links:read"])["key"])
    assert narrow.get("/links").status_code == 200
    problem(narrow.post("/links", {"url": "https://example.com/"}), 403, "insufficient-scope")


def test_key_cannot_grant_scopes_that_it_lacks(caller: Caller) -> None:
    admin = caller.with_scopes("workspace:admin", "links:read")
    assert make_key(admin, scopes=["links:read"])["scopes"] == ["links:read"]
    for scopes in ({}, {"scopes": ["links:read", "links:write"]}):
        answer = admin.post("/api-keys", {"name": "more"} | scopes)
        problem(answer, 403, "insufficient-scope")


def test_revoked_key_is_refused_at_once(caller: Caller) -> None:
    made = make_key(caller)
    other = holder(caller, made["key"])
    assert other.get("/links").status_code == 200
    assert caller.delete(f"/api-keys/{made['id']}").status_code == 204
    refused = other.get("/links")
    problem(refused, 401, "unauthenticated")
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
    revoked_at = caller.get(f"/api-keys/{made['id']}").json["revoked_at"]  # type: ignore[index]
    assert revoked_at is not None
    assert caller.delete(f"/api-keys/{made['id']}").status_code == 204
    again = caller.get(f"/api-keys/{made['id']}").json or {}
    assert again["revoked_at"] == revoked_at


def test_key_may_revoke_itself(caller: Caller) -> None:
    made = make_key(caller)
    itself = holder(caller, made["key"])
    assert itself.delete(f"/api-keys/{made['id']}").status_code == 204
    problem(itself.get("/links"), 401)


def test_key_is_refused_from_its_end_on(caller: Caller) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    made = make_key(caller, expires_at=soon)
    other = holder(caller, made["key"])
    assert other.get("/links").status_code == 200
    time.sleep(1)
    problem(other.get("/links"), 401, "unauthenticated")


def test_last_use_is_told_to_the_minute(caller: Caller, db: Database) -> None:
    made = make_key(caller)
    path = f"/api-keys/{made['id']}"

    def last_used() -> datetime:
        holder(caller, made["key"]).get("/links")
        return datetime.fromisoformat((caller.get(path).json or {})["last_used_at"])

    first = last_used()
    assert datetime.now(UTC) - first < timedelta(seconds=30)
    assert last_used() == first
    age(db, made["id"], "last_used_at", timedelta(minutes=2))
    time.sleep(LOOKED_UP_SECONDS)
    assert last_used() >= first


def test_busy_key_is_looked_up_every_few_seconds(caller: Caller, db: Database) -> None:
    """A key that ends without our doing, as by a restored backup, is known for seconds only."""
    made = make_key(caller)
    other = holder(caller, made["key"])
    assert other.get("/links").status_code == 200
    age(db, made["id"], "revoked_at", timedelta())
    until = time.monotonic() + LOOKED_UP_SECONDS
    while other.get("/links").status_code == 200:
        assert time.monotonic() < until


def test_key_that_another_process_revoked_is_refused_at_once(
    caller: Caller, settings: Settings
) -> None:
    made = make_key(caller)
    elsewhere = create_app(settings)
    evictions = elsewhere.extensions["signpost"].evictions
    arrived = threading.Event()
    evictions.on_sync(lambda synced: arrived.set() if synced else None)
    evictions.on_evict(lambda keys: arrived.set())
    elsewhere.extensions["signpost"].start_worker()
    try:
        assert arrived.wait(5)
        other = Caller(elsewhere, caller.identity, caller.workspace_id, made["key"])
        assert other.get("/links").status_code == 200
        arrived.clear()
        assert caller.delete(f"/api-keys/{made['id']}").status_code == 204
        assert arrived.wait(1)
        problem(other.get("/links"), 401, "unauthenticated")
    finally:
        elsewhere.extensions["signpost"].stop_worker()


def test_key_is_known_while_its_use_cannot_be_noted(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, identity: IdentityService
) -> None:
    made = make_key(caller)

    def away(*arguments: object) -> None:
        raise Unavailable

    monkeypatch.setattr("api.identity.store.update_key_used", away)
    assert holder(caller, made["key"]).get("/links").status_code == 200


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": None}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": " \t"}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"name": "a\0"}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["everything"]}, "/scopes/0"),
        ({"scopes": "links:read"}, "/scopes"),
        ({"scopes": None}, "/scopes"),
        ({"expires_at": "2026-01-02T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "tomorrow"}, "/expires_at"),
        ({"key": "sp_live_" + "a" * 43}, "/key"),
    ],
)
def test_wrong_field_is_named(caller: Caller, fields: dict[str, Any], wrong: str) -> None:
    assert wrong_fields(caller.post("/api-keys", {"name": "CI"} | fields)) == [wrong]


def test_name_is_needed(caller: Caller) -> None:
    assert wrong_fields(caller.post("/api-keys", {})) == ["/name"]


def test_keys_are_listed_page_by_page_newest_first(caller: Caller) -> None:
    made = [make_key(caller, name=str(number))["id"] for number in range(4)]
    met: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        response = caller.get("/api-keys", query_string=query)
        answer = response.json or {}
        met += [row["id"] for row in answer["data"]]
        assert ("Link" in response.headers) == (answer["next_cursor"] is not None)
        if answer["next_cursor"] is None:
            break
        query["cursor"] = answer["next_cursor"]
    assert met[:4] == made[::-1]
    assert len(met) == len(set(met)) == 5


def test_cursor_of_another_workspace_answers_400(caller: Caller, other_caller: Caller) -> None:
    make_key(caller)
    cursor = caller.get("/api-keys?limit=1").json["next_cursor"]  # type: ignore[index]
    problem(other_caller.get(f"/api-keys?cursor={cursor}"), 400, "invalid-cursor")
    problem(caller.get(f"/api-keys?cursor={cursor}A"), 400, "invalid-cursor")


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x"])
def test_limit_is_bounded(caller: Caller, query: str) -> None:
    assert wrong_fields(caller.get(f"/api-keys?{query}")) == ["limit"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_key_of_another_workspace_answers_404(
    caller: Caller, other_caller: Caller, method: str
) -> None:
    made = make_key(caller)
    problem(other_caller.request(method, f"/api-keys/{made['id']}"), 404, "not-found")
    problem(caller.request(method, f"/api-keys/{2**63}"), 404)
    assert holder(caller, made["key"]).get("/links").status_code == 200


ROUTES = [
    ("POST", "/api-keys"),
    ("GET", "/api-keys"),
    ("GET", "/api-keys/1"),
    ("DELETE", "/api-keys/1"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_keys_are_for_administrators(
    client: FlaskClient, caller: Caller, method: str, path: str
) -> None:
    refused = client.open(BASE + path, method=method)
    problem(refused, 401)
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    problem(caller.without("workspace:admin").request(method, path), 403, "insufficient-scope")


@pytest.mark.parametrize(
    "spoil",
    [
        str.upper,
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key[8:],
        lambda key: "é" + key,
    ],
)
def test_key_that_is_not_exactly_one_is_refused(
    caller: Caller, spoil: Callable[[str], str]
) -> None:
    problem(holder(caller, spoil(caller.key)).get("/links"), 401)


def test_key_belongs_to_whoever_makes_it(caller: Caller) -> None:
    owner = caller.with_role("owner")
    assert make_key(caller)["user_id"] is None
    assert make_key(owner)["user_id"] == str(owner.user_id)


def test_key_ends_with_the_membership_of_its_owner(caller: Caller) -> None:
    owner = caller.with_role("owner")
    caller.with_role("owner")
    made = make_key(owner)
    assert holder(caller, made["key"]).get("/links").status_code == 200
    assert caller.delete(f"/members/{owner.user_id}").status_code == 204
    problem(holder(caller, made["key"]).get("/links"), 401, "unauthenticated")
    assert (caller.get(f"/api-keys/{made['id']}").json or {})["revoked_at"] is not None


def test_role_lowered_through_another_process_holds_at_once(
    caller: Caller, settings: Settings
) -> None:
    member = caller.with_role("editor")
    elsewhere = create_app(settings)
    evictions = elsewhere.extensions["signpost"].evictions
    arrived = threading.Event()
    evictions.on_sync(lambda synced: arrived.set() if synced else None)
    evictions.on_evict(lambda keys: arrived.set())
    elsewhere.extensions["signpost"].start_worker()
    try:
        assert arrived.wait(5)
        there = replace(member, app=elsewhere)
        body = {"url": "https://example.com/"}
        assert there.post("/links", body).status_code == 201
        arrived.clear()
        changed = caller.patch(f"/members/{member.user_id}", {"role": "viewer"})
        assert changed.status_code == 200
        assert arrived.wait(1)
        problem(there.post("/links", body), 403, "insufficient-scope")
    finally:
        elsewhere.extensions["signpost"].stop_worker()


def test_known_key_costs_no_query_and_an_unknown_one_a_single_query(caller: Caller) -> None:
    member = caller.with_role("owner")
    key = make_key(member)["key"]
    identity: IdentityService = caller.app.extensions["signpost.services"][IdentityService]
    sent: list[str] = []

    here = threading.get_ident()

    def note(connection: Any, cursor: Any, sql: str, *rest: Any) -> None:
        if threading.get_ident() == here:  # and not what polls in the background
            sent.append(sql)

    identity.authenticate(key)  # notes its use
    identity._recent._entries.clear()  # type: ignore[union-attr]
    engine = caller.app.extensions["signpost"].db.servers()[0].engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        first = identity.authenticate(key)
        assert len(sent) == 1
        assert identity.authenticate(key) == first
        assert len(sent) == 1
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert (first.user_id, first.scopes) == (member.user_id, frozenset(SCOPES))
