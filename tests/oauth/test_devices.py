"""Devices (RFC 8628): they ask, wait, slow down, and get what their person says."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from api.core.database.routing import Database
from api.oauth.clients import DEVICE
from tests.answers import problem
from tests.caller import Caller
from tests.oauth.people import Form, Person
from tests.oauth.programs import Program, oauth_error


@pytest.fixture
def tool(caller: Caller) -> Program:
    """A command line tool."""
    return Program.registered(
        caller, name="Tool", client_type="public", grant_types=[DEVICE, "refresh_token"]
    )


def begin(tool: Program, **form: str) -> dict[str, Any]:
    answer = tool.post("/oauth/device_authorization", **form)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return dict(answer.json or {})


def poll(tool: Program, device: dict[str, Any], db: Database | None = None) -> Any:
    """Ask; with `db` as if the interval had gone by."""
    if db is not None:
        with db.write_directory() as session:
            session.execute(text("UPDATE oauth_device_codes SET polled_at = NULL"))
    return tool.ask(grant_type=DEVICE, device_code=device["device_code"])


def answer(person: Person, device: dict[str, Any], said: str) -> Any:
    """What the person does: open the page, type the code, say so."""
    page = person.sign_in(person.open("/oauth/device"))
    page = person.send(page, user_code=device["user_code"])
    assert "Tool asks for access" in page.text
    assert device["user_code"] in page.text
    return person.send(page, answer=said)


def test_device_gets_what_its_person_says(tool: Program, person: Person, db: Database) -> None:
    device = begin(tool, scope="links:read")
    assert device["verification_uri"] == "http://sign.test/oauth/device"
    assert device["verification_uri_complete"].endswith(f"?user_code={device['user_code']}")
    assert device["interval"] == 5
    assert device["expires_in"] == 900
    oauth_error(poll(tool, device), "authorization_pending")
    assert "Your device is connected" in answer(person, device, "approve").text
    given = poll(tool, device).json or {}
    assert given["scope"] == "links:read"
    assert tool.links(given["access_token"]).status_code == 200
    oauth_error(poll(tool, device), "invalid_grant")
    renewed = tool.ask(grant_type="refresh_token", refresh_token=given["refresh_token"])
    assert renewed.status_code == 200


def test_device_that_asks_too_often_slows_down(tool: Program, db: Database) -> None:
    device = begin(tool)
    oauth_error(poll(tool, device), "authorization_pending")
    oauth_error(poll(tool, device), "slow_down")
    oauth_error(poll(tool, device), "slow_down")
    with db.read_directory() as session:
        interval = session.scalar(
            text("SELECT interval_seconds FROM oauth_device_codes WHERE user_code = :code"),
            {"code": device["user_code"]},
        )
    assert interval == 15
    oauth_error(poll(tool, device, db), "authorization_pending")


def test_denied_device_is_told(tool: Program, person: Person) -> None:
    device = begin(tool)
    assert "Your device was refused" in answer(person, device, "deny").text
    oauth_error(poll(tool, device), "access_denied")


def test_device_code_ends(tool: Program, person: Person, db: Database) -> None:
    device = begin(tool)
    with db.write_directory() as session:
        session.execute(text("UPDATE oauth_device_codes SET expires_at = now()"))
    oauth_error(poll(tool, device), "expired_token")
    page = person.send(person.sign_in(person.open("/oauth/device")), user_code=device["user_code"])
    assert page.status_code == 404
    assert "No device waits" in page.text


def test_code_is_found_however_it_is_typed(tool: Program, person: Person) -> None:
    device = begin(tool)
    page = person.sign_in(person.open("/oauth/device"))
    typed = f"  {device['user_code'].lower().replace('-', ' ')} "
    assert "Tool asks for access" in person.send(page, user_code=typed).text


def test_address_with_the_code_fills_it_in(tool: Program, person: Person) -> None:
    device = begin(tool)
    page = person.sign_in(person.open(f"/oauth/device?user_code={device['user_code']}"))
    assert Form(page.text).fields["user_code"] == device["user_code"]
    # It is not enough to open it: somebody else may have sent the address.
    assert "Tool" not in page.text


def test_answered_device_cannot_be_answered_again(tool: Program, person: Person) -> None:
    device = begin(tool)
    answer(person, device, "approve")
    page = person.send(person.open("/oauth/device"), user_code=device["user_code"])
    assert page.status_code == 404


def test_device_code_is_its_clients_own(tool: Program, caller: Caller) -> None:
    device = begin(tool)
    thief = Program.registered(caller, client_type="public", grant_types=[DEVICE])
    oauth_error(poll(thief, device), "unauthorized_client")
    oauth_error(tool.ask(grant_type=DEVICE, device_code="unknown"), "invalid_grant")
    oauth_error(tool.ask(grant_type=DEVICE), "invalid_request")


def test_only_clients_with_the_grant_begin(program: Program) -> None:
    oauth_error(program.post("/oauth/device_authorization"), "unauthorized_client")


def test_device_asks_for_no_more_than_its_client_may(caller: Caller) -> None:
    tool = Program.registered(
        caller, client_type="public", grant_types=[DEVICE], scopes=["links:read"]
    )
    asked = tool.post("/oauth/device_authorization", scope="links:write")
    oauth_error(asked, "invalid_scope")


def test_codes_for_people_are_not_tried_by_the_thousand(
    tool: Program, person: Person, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.core.errors import TooManyRequests
    from api.identity.users import UserService

    def refuse(self: UserService, address: str) -> None:
        raise TooManyRequests("Wait.", 30)

    page = person.sign_in(person.open("/oauth/device"))
    monkeypatch.setattr(UserService, "count_try", refuse)
    limited = person.send(page, user_code="BCDF-GHJK")
    assert limited.status_code == 429
    assert limited.headers["Retry-After"] == "30"


def test_revoked_device_is_let_in_no_more(tool: Program, person: Person) -> None:
    device = begin(tool)
    answer(person, device, "approve")
    given = poll(tool, device).json or {}
    tool.post("/oauth/revoke", token=given["refresh_token"])
    problem(tool.links(given["access_token"]), 401, "unauthenticated")
