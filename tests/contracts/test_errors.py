"""What goes wrong unexpectedly tells a client nothing."""

from __future__ import annotations

import pytest
from flask import Flask

from api.links import store
from tests.caller import Caller

_SECRETS = ("Traceback", "SELECT", "File ", "/api/", "psycopg2", "sqlalchemy", "secret detail")


def test_unexpected_error_answers_a_constant_problem(
    app: Flask, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail: SELECT password FROM /etc")

    monkeypatch.setattr(store, "ask_link", fail)
    answer = caller.get("/links/1")
    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    assert (answer.json or {})["instance"] == f"urn:request:{answer.headers['X-Request-ID']}"
    assert not any(secret in answer.text for secret in _SECRETS)


def test_server_does_not_tell_its_version(caller: Caller) -> None:
    answer = caller.get("/links")
    assert not any(character.isdigit() for character in answer.headers.get("Server", ""))
