"""Revoked tokens: refused at once, in every process, with Redis or without; and introspection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from api.app import create_app
from api.core.database.routing import Database
from api.core.errors import Unavailable
from api.core.evictions import Evictions
from api.core.registry import service
from api.identity.users import UserService
from api.oauth.lives import ACCEPTED_SECONDS
from api.oauth.revocations import CLIENT, GRANT, MEMBER, SESSION, TOKEN, USER, Revocations, member
from api.oauth.tokens import AccessToken, Tokens
from api.oauth.verifier import TokenVerifier
from config.settings import Settings
from tests.answers import problem
from tests.caller import Caller
from tests.oauth.programs import Program, oauth_error

UNREACHABLE = "postgresql://nobody@127.0.0.1:1/none"


@contextmanager
def another_process(environ: dict[str, str], home: Path, **changes: str) -> Iterator[Flask]:
    """An application with the same keys that shares nothing else than the servers."""
    settings = Settings.load(environ | changes)
    app = create_app(settings)
    app.extensions["signpost"].start_worker()
    try:
        yield app
    finally:
        app.extensions["signpost"].stop_worker()


def links(app: Flask, token: str) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    return app.test_client().get("/api/v1/links", headers=headers)


def token_of(**facts: Any) -> AccessToken:
    now = int(time.time())
    given: dict[str, Any] = {
        "token_id": f"token-{time.monotonic_ns()}",
        "client_id": f"client-{time.monotonic_ns()}",
        "workspace_id": 1,
        "scopes": frozenset({"links:read"}),
        "issued_at": now,
        "expires_at": now + 600,
    }
    return AccessToken(**given | facts)


def test_revoked_token_is_refused_at_once(program: Program) -> None:
    token, other = program.access_token(), program.access_token()
    assert program.links(token).status_code == 200
    answer = program.post("/oauth/revoke", token=token, token_type_hint="access_token")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    problem(program.links(token), 401, "unauthenticated")
    assert program.links(other).status_code == 200


@pytest.mark.parametrize("redis", [True, False])
def test_revoked_token_is_refused_everywhere_within_five_seconds(
    redis: bool, program: Program, environ: dict[str, str], tmp_path: Path
) -> None:
    token = program.access_token()
    changes = {} if redis else {"REDIS_URL": ""}
    with another_process(environ, tmp_path, **changes) as other:
        assert links(other, token).status_code == 200
        program.post("/oauth/revoke", token=token)
        revoked = time.monotonic()
        while links(other, token).status_code == 200:
            assert time.monotonic() - revoked < 5
            time.sleep(0.05)
        taken = time.monotonic() - revoked
        problem(links(other, token), 401, "unauthenticated")
    assert taken < (1 if redis else 3)


def test_process_that_starts_later_knows_of_it(
    program: Program, environ: dict[str, str], tmp_path: Path
) -> None:
    token = program.access_token()
    program.post("/oauth/revoke", token=token)
    with another_process(environ, tmp_path) as other:
        problem(links(other, token), 401, "unauthenticated")


def test_revocation_asks_for_the_clients_own_credentials(
    program: Program, caller: Caller, other_caller: Caller
) -> None:
    token = program.access_token()
    oauth_error(program.post("/oauth/revoke", secret="wrong", token=token), "invalid_client", 401)
    stranger = Program.registered(other_caller, grant_types=["client_credentials"])
    oauth_error(stranger.post("/oauth/revoke", token=token), "invalid_grant")
    oauth_error(program.post("/oauth/revoke"), "invalid_request")
    assert program.links(token).status_code == 200


@pytest.mark.parametrize("token", ["unknown", "a.b.c", "eyJ.a.b", "sp_live_x", "x" * 3_000])
def test_unknown_token_is_no_error(token: str, program: Program) -> None:
    """RFC 7009 section 2.2."""
    assert program.post("/oauth/revoke", token=token).status_code == 200
    assert program.post("/oauth/introspect", token=token).json == {"active": False}


def test_introspection_tells_the_client_and_its_workspace(
    program: Program, caller: Caller, other_caller: Caller
) -> None:
    token = program.access_token(scope="links:read")
    own = program.post("/oauth/introspect", token=token)
    assert own.headers["Cache-Control"] == "no-store"
    told = own.json or {}
    assert told["active"] is True
    assert told["scope"] == "links:read"
    assert told["client_id"] == told["sub"] == program.client_id
    assert told["workspace_id"] == str(caller.workspace_id)
    assert told["exp"] - told["iat"] == 600
    colleague = Program.registered(caller, grant_types=["client_credentials"])
    assert colleague.post("/oauth/introspect", token=token).json == told
    stranger = Program.registered(other_caller, grant_types=["client_credentials"])
    assert stranger.post("/oauth/introspect", token=token).json == {"active": False}
    program.post("/oauth/revoke", token=token)
    assert program.post("/oauth/introspect", token=token).json == {"active": False}


def test_introspection_asks_for_credentials(program: Program, caller: Caller) -> None:
    token = program.access_token()
    form = {"token": token, "client_id": program.client_id}
    oauth_error(
        program.app.test_client().post("/oauth/introspect", data=form), "invalid_client", 401
    )


@pytest.mark.parametrize(
    ("kind", "subject"),
    [(CLIENT, "c-1"), (GRANT, "77"), (USER, "5"), (MEMBER, member(5, 3))],
)
def test_what_a_token_depends_on_takes_it_along(
    kind: str, subject: str, revocations: Revocations, db: Database
) -> None:
    facts = {"client_id": "c-1", "grant_id": 77, "user_id": 5, "workspace_id": 3}
    names = {"client_id": "c-2", "grant_id": 78, "user_id": 6, "workspace_id": 3}
    token, other = token_of(**facts), token_of(**names)
    with db.write_directory() as session:
        row = revocations.revoke(session, kind, subject)
    revocations.tell([row])
    assert revocations.covers(token)
    assert not revocations.covers(other)
    # What is issued later counts again.
    later = token_of(**facts, issued_at=int(row.before.timestamp()) + 1)
    assert not revocations.covers(later)


def test_member_is_one_of_one_workspace(revocations: Revocations, db: Database) -> None:
    with db.write_directory() as session:
        row = revocations.revoke(session, MEMBER, member(51, 31))
    revocations.tell([row])
    assert not revocations.covers(token_of(user_id=51, workspace_id=32))
    assert revocations.covers(token_of(user_id=51, workspace_id=31))


def test_token_that_is_given_after_a_revocation_counts(
    program: Program, revocations: Revocations, db: Database
) -> None:
    with db.write_directory() as session:
        row = revocations.revoke(session, CLIENT, program.client_id)
    before = program.access_token()
    revocations.tell([row])
    assert program.links(before).status_code == 200


def test_revocation_that_was_not_committed_is_none(revocations: Revocations, db: Database) -> None:
    token = token_of()
    with pytest.raises(ZeroDivisionError), db.write_directory() as session:
        revocations.revoke(session, TOKEN, token.token_id)
        raise ZeroDivisionError
    revocations.learn()
    assert not revocations.covers(token)


def test_revocations_end_with_what_they_revoke(
    revocations: Revocations, db: Database, settings: Settings
) -> None:
    with db.write_directory() as session:
        rows = [
            revocations.revoke(session, TOKEN, "ended"),
            revocations.revoke(session, SESSION, "longer"),
        ]
        session.execute(
            text("UPDATE revocations SET ends_at = now() - interval '1 s' WHERE subject = 'ended'")
        )
    assert rows[1].ends_at > rows[0].ends_at
    fresh = Revocations(db, Evictions(None, 1.0))
    assert fresh.has(SESSION, "longer")
    assert not fresh.has(TOKEN, "ended")
    fresh._tidied -= 10_000
    fresh._tidy()
    with db.read_directory() as session:
        kept = session.scalars(text("SELECT subject FROM revocations")).all()
    assert "ended" not in kept
    assert "longer" in kept


def test_row_that_is_committed_late_is_learned(db: Database) -> None:
    """Its time may be before that of a row that was seen already."""
    late, early = token_of(), token_of()
    process = Revocations(db, Evictions(None, 1.0))
    writer = Revocations(db, Evictions(None, 1.0))
    with db.write_directory() as slow:
        writer.revoke(slow, TOKEN, late.token_id)
        with db.write_directory() as quick:
            writer.revoke(quick, TOKEN, early.token_id)
        process.learn()
        assert process.covers(early)
        assert not process.covers(late)
    process.learn()
    assert process.covers(late)


def test_without_the_directory_what_is_known_goes_on(
    app: Flask, program: Program, environ: dict[str, str], db: Database
) -> None:
    good, bad = program.access_token(), program.access_token()
    program.post("/oauth/revoke", token=bad)
    with app.app_context():
        verifier, known = service(TokenVerifier), service(Revocations)
    away = Database(Settings.load(environ | {"DATABASE_URL": UNREACHABLE}))
    process = Revocations(away, Evictions(None, 1.0))
    with pytest.raises(Unavailable):
        process.covers(verifier.token_of(good))
    known.learn()
    process._live, process._learned = known._live, True
    with pytest.raises(Unavailable):
        process.learn()
    judge = TokenVerifier(verifier._tokens, process)
    assert judge.authenticate(good).workspace_id == program.owner.workspace_id
    with pytest.raises(Exception, match="not valid"):
        judge.authenticate(bad)


def test_token_is_judged_without_a_query(app: Flask, program: Program) -> None:
    from sqlalchemy import event

    token = program.access_token()
    with app.app_context():
        verifier = service(TokenVerifier)
    asked: list[str] = []
    here = threading.get_ident()

    def note(*arguments: Any) -> None:
        if threading.get_ident() == here:  # and not what polls in the background
            asked.append(arguments[2])

    engine = app.extensions["signpost"].db.servers()[0].engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        verifier.authenticate(token)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert asked == []


Change = Callable[[Caller, Caller], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda owner, member: owner.patch(f"/members/{member.user_id}", {"role": "viewer"}),
        lambda owner, member: owner.delete(f"/members/{member.user_id}"),
        lambda owner, member: owner.app.extensions["signpost.services"][UserService].disable_user(
            member.user_id
        ),
    ],
    ids=["another role", "no member", "disabled"],
)
def test_tokens_of_a_member_end_with_what_they_could_do(
    change: Change, caller: Caller, tokens: Tokens, environ: dict[str, str], tmp_path: Path
) -> None:
    editor, other = caller.with_role("editor"), caller.with_role("editor")
    facts = {"workspace_id": caller.workspace_id, "scopes": frozenset({"links:read"})}
    token = tokens.write(token_of(user_id=editor.user_id, **facts))
    others = tokens.write(token_of(user_id=other.user_id, **facts))
    with another_process(environ, tmp_path, REDIS_URL="") as away:
        apps = (caller.app, away)
        assert [links(app, token).status_code for app in apps] == [200, 200]
        change(caller, editor)
        changed = time.monotonic()
        while {links(app, token).status_code for app in apps} != {401}:
            assert time.monotonic() - changed < 5
            time.sleep(0.05)
        assert [links(app, others).status_code for app in apps] == [200, 200]


def test_revocation_by_the_database_lasts_as_long_as_a_token(caller: Caller, db: Database) -> None:
    editor = caller.with_role("editor")
    with db.write_directory() as session:
        session.execute(
            text("UPDATE memberships SET role = 'viewer' WHERE user_id = :id"),
            {"id": editor.user_id},
        )
        row = session.execute(
            text("SELECT kind, before, ends_at FROM revocations WHERE subject LIKE :subject"),
            {"subject": f"{editor.user_id}:%"},
        ).one()
    assert row.kind == MEMBER
    assert row.before > datetime.now(UTC)
    assert (row.ends_at - row.before).total_seconds() >= ACCEPTED_SECONDS - 0.1
