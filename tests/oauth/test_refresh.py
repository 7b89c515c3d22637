"""Refresh tokens: each gives the next, and one that is used twice ends the family."""

from __future__ import annotations

import hashlib
import threading

import pytest
from sqlalchemy import text

from api.core.database.routing import Database
from tests.answers import problem
from tests.caller import Caller
from tests.oauth.people import Flow, Person
from tests.oauth.programs import CALLBACK, Program, oauth_error


def refresh(program: Program, token: str, **form: str):  # type: ignore[no-untyped-def]
    return program.ask(grant_type="refresh_token", refresh_token=token, **form)


@pytest.fixture(params=["confidential", "public"])
def any_client(request: pytest.FixtureRequest, app_client: Program, public_client: Program):  # type: ignore[no-untyped-def]
    """A client of either kind."""
    return app_client if request.param == "confidential" else public_client


def test_each_refresh_token_gives_the_next(any_client: Program, person: Person) -> None:
    given = Flow(any_client).tokens(person)
    seen = {given["refresh_token"]}
    for _ in range(3):
        given = refresh(any_client, given["refresh_token"]).json or {}
        assert given["scope"] == "links:read links:write"
        assert any_client.links(given["access_token"]).status_code == 200
        seen.add(given["refresh_token"])
    assert len(seen) == 4


def test_replayed_refresh_token_revokes_its_family(
    any_client: Program, person: Person, caller: Caller
) -> None:
    first = Flow(any_client).tokens(person)
    bystander = Flow(any_client).tokens(person)
    second = refresh(any_client, first["refresh_token"]).json or {}
    oauth_error(refresh(any_client, first["refresh_token"]), "invalid_grant")
    oauth_error(refresh(any_client, second["refresh_token"]), "invalid_grant")
    for given in (first, second):
        problem(any_client.links(given["access_token"]), 401, "unauthenticated")
    assert any_client.links(bystander["access_token"]).status_code == 200
    assert refresh(any_client, bystander["refresh_token"]).status_code == 200
    event = (caller.get("/audit-events?action=oauth_grant.end").json or {})["data"][0]
    assert event["details"]["reason"] == "a refresh token was used twice"


def test_two_at_once_get_at_most_one_answer(app_client: Program, person: Person) -> None:
    token = Flow(app_client).tokens(person)["refresh_token"]
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(refresh(app_client, token).status_code))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 400, 400, 400]


def test_refresh_token_is_kept_as_a_digest(
    app_client: Program, person: Person, db: Database
) -> None:
    token = Flow(app_client).tokens(person)["refresh_token"]
    digest = hashlib.sha256(token.encode()).digest()
    with db.read_directory() as session:
        kept = session.scalar(
            text("SELECT count(*) FROM oauth_refresh_tokens WHERE token_hash = :hash"),
            {"hash": digest},
        )
    assert kept == 1


def test_scopes_can_be_fewer_and_never_more(app_client: Program, person: Person) -> None:
    given = Flow(app_client).tokens(person)
    token = given["refresh_token"]
    oauth_error(refresh(app_client, token, scope="links:read stats:read"), "invalid_scope")
    narrow = refresh(app_client, token, scope="links:read").json or {}
    assert narrow["scope"] == "links:read"
    wide = refresh(app_client, narrow["refresh_token"]).json or {}
    assert wide["scope"] == "links:read links:write"


def test_role_that_shrinks_takes_scopes_along(app_client: Program, caller: Caller) -> None:
    member = caller.with_role("editor")
    given = Flow(app_client).tokens(Person.of(member))
    caller.patch(f"/members/{member.user_id}", {"role": "viewer"})
    renewed = refresh(app_client, given["refresh_token"]).json or {}
    assert renewed["scope"] == "links:read"
    assert app_client.links(renewed["access_token"]).status_code == 200


def test_client_that_loses_a_scope_passes_it_on_no_more(
    app_client: Program, person: Person, caller: Caller
) -> None:
    given = Flow(app_client).tokens(person)
    caller.patch(f"/oauth-clients/{app_client.id}", {"scopes": ["links:read"]})
    renewed = refresh(app_client, given["refresh_token"]).json or {}
    assert renewed["scope"] == "links:read"


def test_who_leaves_the_workspace_takes_the_family_along(
    app_client: Program, caller: Caller
) -> None:
    from api.identity.members import MemberService

    member = caller.with_role("editor")
    given = Flow(app_client).tokens(Person.of(member))
    caller.delete(f"/members/{member.user_id}")
    oauth_error(refresh(app_client, given["refresh_token"]), "invalid_grant")
    members: MemberService = caller.app.extensions["signpost.services"][MemberService]
    members.add_member(caller.workspace_id, member.user_id, "editor")
    oauth_error(refresh(app_client, given["refresh_token"]), "invalid_grant")


def test_disabled_user_refreshes_nothing(app_client: Program, caller: Caller) -> None:
    from api.identity.users import UserService

    member = caller.with_role("editor")
    given = Flow(app_client).tokens(Person.of(member))
    users: UserService = caller.app.extensions["signpost.services"][UserService]
    users.disable_user(member.user_id)
    oauth_error(refresh(app_client, given["refresh_token"]), "invalid_grant")


def test_refresh_token_of_another_client_is_of_no_use(
    app_client: Program, person: Person, caller: Caller
) -> None:
    given = Flow(app_client).tokens(person)
    thief = Program.registered(
        caller, grant_types=["authorization_code", "refresh_token"], redirect_uris=[CALLBACK]
    )
    oauth_error(refresh(thief, given["refresh_token"]), "invalid_grant")
    assert refresh(app_client, given["refresh_token"]).status_code == 200


def test_expired_refresh_token_is_refused(
    app_client: Program, person: Person, db: Database
) -> None:
    given = Flow(app_client).tokens(person)
    digest = hashlib.sha256(given["refresh_token"].encode()).digest()
    with db.write_directory() as session:
        session.execute(
            text("UPDATE oauth_refresh_tokens SET expires_at = now() WHERE token_hash = :hash"),
            {"hash": digest},
        )
    oauth_error(refresh(app_client, given["refresh_token"]), "invalid_grant")


def test_client_that_may_not_refresh_gets_no_refresh_token(person: Person, caller: Caller) -> None:
    program = Program.registered(
        caller, grant_types=["authorization_code"], redirect_uris=[CALLBACK]
    )
    assert "refresh_token" not in Flow(program).tokens(person)


def test_revoked_refresh_token_ends_the_family(app_client: Program, person: Person) -> None:
    """RFC 7009 section 2.1."""
    given = Flow(app_client).tokens(person)
    told = app_client.post("/oauth/introspect", token=given["refresh_token"]).json or {}
    assert told["active"] is True
    assert told["token_type"] == "refresh_token"
    assert app_client.post("/oauth/revoke", token=given["refresh_token"]).status_code == 200
    problem(app_client.links(given["access_token"]), 401, "unauthenticated")
    oauth_error(refresh(app_client, given["refresh_token"]), "invalid_grant")
    told = app_client.post("/oauth/introspect", token=given["refresh_token"]).json or {}
    assert told == {"active": False}


def test_public_client_revokes_its_own(public_client: Program, person: Person) -> None:
    given = Flow(public_client).tokens(person)
    assert public_client.post("/oauth/revoke", token=given["access_token"]).status_code == 200
    problem(public_client.links(given["access_token"]), 401, "unauthenticated")


def test_what_has_ended_is_deleted_and_what_goes_on_stays(
    app_client: Program, person: Person, db: Database
) -> None:
    from api.oauth import grant_store

    ended, kept = Flow(app_client).tokens(person), Flow(app_client).tokens(person)
    grants = [
        (app_client.post("/oauth/introspect", token=each["access_token"]).json or {})["jti"]
        for each in (ended, kept)
    ]
    assert len(set(grants)) == 2
    digest = hashlib.sha256(ended["refresh_token"].encode()).digest()
    with db.write_directory() as session:
        session.execute(text("UPDATE oauth_codes SET expires_at = now() - interval '2 days'"))
        session.execute(text("UPDATE oauth_grants SET created_at = now() - interval '2 days'"))
        session.execute(
            text(
                "UPDATE oauth_refresh_tokens SET expires_at = now() - interval '2 days'"
                " WHERE token_hash = :hash"
            ),
            {"hash": digest},
        )
        before = session.scalar(text("SELECT count(*) FROM oauth_grants"))
        grant_store.delete_ended(session)
        after = session.scalar(text("SELECT count(*) FROM oauth_grants"))
    assert before - after >= 1
    oauth_error(refresh(app_client, ended["refresh_token"]), "invalid_grant")
    assert refresh(app_client, kept["refresh_token"]).status_code == 200
