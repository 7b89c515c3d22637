"""Whoever acts through a token is named in the audit log as people know them."""

from __future__ import annotations

from typing import Any

import pytest

from api.audit.names import Names
from api.core.errors import Unavailable
from api.core.events import Thing
from tests.caller import Caller
from tests.oauth.people import Flow, Person
from tests.oauth.programs import CALLBACK, Program

LINK = {"url": "https://example.com/"}


def created(caller: Caller) -> dict[str, Any]:
    """The event of the one link that was made."""
    (event,) = (caller.get("/audit-events?action=link.create").json or {})["data"]
    return dict(event)


def test_client_that_acts_for_itself_is_the_actor(caller: Caller) -> None:
    program = Program.registered(
        caller, grant_types=["client_credentials"], scopes=["links:write"], name="Nightly job"
    )
    Caller(caller.app, caller.identity, 0, program.access_token()).post("/links", LINK)
    event = created(caller)
    assert event["actor"] == {"kind": "client", "id": program.client_id, "name": "Nightly job"}
    assert event["via"] is None


def test_user_who_acts_through_a_client_is_the_actor(caller: Caller) -> None:
    program = Program.registered(
        caller,
        grant_types=["authorization_code"],
        redirect_uris=[CALLBACK],
        scopes=["links:read", "links:write"],
    )
    editor = caller.with_role("editor")
    person = Person.of(editor)
    flow = Flow(program)
    token = (flow.redeem(flow.code(person)).json or {})["access_token"]
    Caller(caller.app, caller.identity, 0, token).post("/links", LINK)
    event = created(caller)
    assert event["actor"] == {"kind": "user", "id": str(editor.user_id), "name": person.email}
    assert event["via"] == {"kind": "client", "id": program.client_id}


def test_name_is_asked_for_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    now = [1000.0]
    monkeypatch.setattr("api.audit.names.time.monotonic", lambda: now[0])
    names = Names()
    names.ask("user", lambda user: asked.append(user) or f"name of {user}")  # type: ignore[func-returns-value]
    for _ in range(3):
        assert names.of(Thing("user", "1")) == "name of 1"
    assert asked == ["1"]
    now[0] += 61
    assert names.of(Thing("user", "1")) == "name of 1"
    assert asked == ["1", "1"]
    assert names.of(Thing("user", "2", "given")) == "given"
    assert names.of(Thing("operator", None, "root")) == "root"
    assert names.of(Thing("client", "3")) is None
    assert asked == ["1", "1"]


def test_event_goes_without_a_name_that_nobody_can_tell_now() -> None:
    names = Names()
    away = [True]

    def source(user: str) -> str:
        if away[0]:
            raise Unavailable
        return "Ann"

    names.ask("user", source)
    assert names.of(Thing("user", "1")) is None
    away[0] = False
    assert names.of(Thing("user", "1")) == "Ann"
