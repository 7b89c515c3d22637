"""The authorization code: asked for, consented to, redeemed once, with PKCE."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from api.core.database.routing import Database
from tests.answers import problem
from tests.caller import Caller
from tests.oauth.people import Flow, Form, Person
from tests.oauth.programs import CALLBACK, Program, oauth_error


@pytest.fixture(params=["confidential", "public"])
def any_client(request: pytest.FixtureRequest, caller: Caller) -> Program:
    """A client of either kind."""
    return Program.registered(
        caller,
        client_type=request.param,
        grant_types=["authorization_code", "refresh_token"],
        redirect_uris=[CALLBACK],
    )


def test_person_lets_a_client_in(any_client: Program, person: Person, caller: Caller) -> None:
    flow = Flow(any_client)
    page = person.open(flow.address)
    assert "Sign in" in page.text
    page = person.sign_in(page)
    assert "Program asks for access" in page.text
    assert "Create, change and delete links" in page.text
    assert "Manage the workspace" not in page.text
    answer = flow.answer_of(person.send(page, answer="approve"))
    assert set(answer) == {"code", "state", "iss"}
    assert answer["state"] == flow.parameters["state"]
    assert answer["iss"] == "http://sign.test"
    tokens = flow.redeem(answer["code"])
    assert tokens.headers["Cache-Control"] == "no-store"
    given = tokens.json or {}
    assert given["scope"] == "links:read links:write"
    assert given["expires_in"] == 600
    assert any_client.links(given["access_token"]).status_code == 200
    body = {"url": "https://example.com/"}
    headers = {"Authorization": f"Bearer {given['access_token']}"}
    link = any_client.app.test_client().post("/api/v1/links", json=body, headers=headers)
    assert link.status_code == 201
    event = (caller.get("/audit-events?action=link.create").json or {})["data"][0]
    assert event["actor"]["kind"] == "user"
    assert event["via"] == {"kind": "client", "id": any_client.client_id}


def test_consent_is_told_in_the_audit_log(
    app_client: Program, person: Person, caller: Caller
) -> None:
    Flow(app_client).tokens(person)
    event = (caller.get("/audit-events?action=oauth_grant.create").json or {})["data"][0]
    assert event["actor"]["name"] == person.email
    assert event["target"] == {"kind": "oauth_client", "id": app_client.id}


def test_denial_brings_the_client_back_empty_handed(app_client: Program, person: Person) -> None:
    flow = Flow(app_client)
    page = person.sign_in(person.open(flow.address))
    answer = flow.answer_of(person.send(page, answer="deny"))
    assert answer["error"] == "access_denied"
    assert answer["state"] == flow.parameters["state"]
    assert answer["iss"] == "http://sign.test"
    assert "code" not in answer


def test_anything_but_approval_is_a_denial(app_client: Program, person: Person) -> None:
    flow = Flow(app_client)
    page = person.sign_in(person.open(flow.address))
    assert flow.answer_of(person.send(page))["error"] == "access_denied"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "!" * 43}, "invalid_request"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"scope": "root"}, "invalid_scope"),
        ({"scope": "links:read root"}, "invalid_scope"),
    ],
)
def test_wrong_requests_are_told_to_the_client(
    changes: dict[str, Any], error: str, app_client: Program, person: Person
) -> None:
    flow = Flow(app_client, **changes)
    answer = flow.answer_of(person.open(flow.address))
    assert answer["error"] == error
    assert answer["state"] == flow.parameters["state"]
    assert answer["iss"] == "http://sign.test"


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "unknown"},
        {"client_id": None},
        {"redirect_uri": CALLBACK + "/"},
        {"redirect_uri": CALLBACK + "?x=y"},
        {"redirect_uri": CALLBACK.upper()},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "https://app.example.com/callback@evil.example"},
        {"redirect_uri": 'https://evil.example/"'},
        {"redirect_uri": [CALLBACK, "https://evil.example/"]},
        {"client_id": "a\x00b"},
        {"state": ["one", "two"]},
        {"scope": "é"},
        {"response_type": 'x"', "redirect_uri": CALLBACK},
    ],
    ids=repr,
)
def test_nobody_is_sent_where_the_client_did_not_register(
    changes: dict[str, Any], app_client: Program, person: Person
) -> None:
    answer = person.open(Flow(app_client, **changes).address)
    assert answer.status_code == 400
    assert answer.content_type.startswith("text/html")
    assert "Location" not in answer.headers


def test_only_address_of_a_client_may_be_left_out(app_client: Program, person: Person) -> None:
    flow = Flow(app_client, redirect_uri=None)
    assert flow.redeem(flow.code(person)).status_code == 200


def test_code_is_good_once_and_a_second_use_ends_what_it_gave(
    any_client: Program, person: Person, caller: Caller
) -> None:
    flow = Flow(any_client)
    code = flow.code(person)
    given = flow.redeem(code).json or {}
    assert any_client.links(given["access_token"]).status_code == 200
    oauth_error(flow.redeem(code), "invalid_grant")
    problem(any_client.links(given["access_token"]), 401, "unauthenticated")
    again = any_client.ask(grant_type="refresh_token", refresh_token=given["refresh_token"])
    oauth_error(again, "invalid_grant")
    event = (caller.get("/audit-events?action=oauth_grant.end").json or {})["data"][0]
    assert event["details"]["reason"] == "a code was used twice"


def test_code_ends_after_a_minute(app_client: Program, person: Person, db: Database) -> None:
    flow = Flow(app_client)
    code = flow.code(person)
    with db.write_directory() as session:
        left = session.scalar(
            text("SELECT extract(epoch FROM max(expires_at) - now()) FROM oauth_codes")
        )
        assert 50 < left <= 60
        session.execute(text("UPDATE oauth_codes SET expires_at = now()"))
    oauth_error(flow.redeem(code), "invalid_grant")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": None}, "invalid_request"),
        ({"code_verifier": "x" * 43}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_grant"),
        ({"redirect_uri": "https://evil.example/"}, "invalid_grant"),
        ({"code": "unknown"}, "invalid_grant"),
        ({"code": None}, "invalid_request"),
    ],
)
def test_code_alone_is_of_no_use(
    changes: dict[str, Any], error: str, any_client: Program, person: Person
) -> None:
    flow = Flow(any_client)
    code = flow.code(person)
    oauth_error(flow.redeem(code, **changes), error)
    assert flow.redeem(code).status_code == 200


def test_challenge_is_no_verifier(any_client: Program, person: Person) -> None:
    flow = Flow(any_client)
    code = flow.code(person)
    wrong = flow.redeem(code, code_verifier=flow.parameters["code_challenge"])
    oauth_error(wrong, "invalid_grant")


def test_code_of_another_client_is_of_no_use(
    app_client: Program, person: Person, caller: Caller
) -> None:
    flow = Flow(app_client)
    code = flow.code(person)
    thief = Program.registered(caller, grant_types=["authorization_code"], redirect_uris=[CALLBACK])
    stolen = Flow(thief)
    stolen.verifier = flow.verifier
    oauth_error(stolen.redeem(code), "invalid_grant")
    assert flow.redeem(code).status_code == 200


def test_confidential_client_shows_its_secret(app_client: Program, person: Person) -> None:
    flow = Flow(app_client)
    code = flow.code(person)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": flow.verifier,
        "client_id": app_client.client_id,
    }
    answer = app_client.app.test_client().post("/oauth/token", data=form)
    oauth_error(answer, "invalid_client", 401)


def test_token_gives_no_more_than_the_role(app_client: Program, caller: Caller) -> None:
    viewer = Person.of(caller.with_role("viewer"))
    given = Flow(app_client, scope="links:read links:write workspace:admin").tokens(viewer)
    assert given["scope"] == "links:read"


def test_nothing_is_given_where_the_role_gives_nothing(app_client: Program, caller: Caller) -> None:
    viewer = Person.of(caller.with_role("viewer"))
    page = viewer.sign_in(viewer.open(Flow(app_client, scope="workspace:admin").address))
    assert page.status_code == 403
    assert "In none of your workspaces" in page.text


def test_person_chooses_the_workspace(
    app_client: Program, person: Person, caller: Caller, other_caller: Caller
) -> None:
    from api.identity.members import MemberService
    from api.identity.users import UserService

    services = caller.app.extensions["signpost.services"]
    user = services[UserService].get_user_by_email(person.email)
    services[MemberService].add_member(other_caller.workspace_id, user.id, "viewer")
    link = other_caller.create_link()
    flow = Flow(app_client)
    page = person.sign_in(person.open(flow.address))
    form = Form(page.text)
    assert set(form.workspaces) == {str(caller.workspace_id), str(other_caller.workspace_id)}
    assert "workspace" not in form.fields
    # Neither none nor a stranger's.
    assert person.send(page, answer="approve").status_code == 400
    assert person.send(page, answer="approve", workspace="1").status_code == 400
    code = flow.answer_of(
        person.send(page, answer="approve", workspace=str(other_caller.workspace_id))
    )["code"]
    given = flow.redeem(code).json or {}
    assert given["scope"] == "links:read"
    shown = app_client.links(given["access_token"]).json or {}
    assert [each["id"] for each in shown["data"]] == [link["id"]]


def test_client_without_the_grant_asks_nobody(program: Program, person: Person) -> None:
    assert person.open(Flow(program).address).status_code == 400


def test_form_of_another_site_is_refused(app_client: Program, person: Person) -> None:
    flow = Flow(app_client)
    page = person.sign_in(person.open(flow.address))
    for token in ("", "x" * 64):
        answer = person.send(page, answer="approve", form_token=token)
        assert answer.status_code == 400
        assert "not valid any more" in answer.text
    stranger = Person(person.app, person.email)
    foreign = Form(stranger.open("/oauth/sign-in").text).fields["form_token"]
    assert person.send(page, answer="approve", form_token=foreign).status_code == 400
    assert flow.answer_of(person.send(page, answer="approve"))["code"]


def test_person_who_signed_out_meanwhile_signs_in_again(
    app_client: Program, person: Person
) -> None:
    flow = Flow(app_client)
    page = person.sign_in(person.open(flow.address))
    person.send(person.open("/oauth/sign-in"))
    again = person.send(page, answer="approve")
    assert "Sign in" in again.text
    assert "asks for access" in person.sign_in(again).text
