"""A client program, as the tests play it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from api.core.principal import SCOPES
from tests.caller import Caller

CALLBACK = "https://app.example.com/callback"


@dataclass(frozen=True)
class Program:
    """A registered client."""

    app: Flask
    owner: Caller
    id: str
    client_id: str
    secret: str | None

    @classmethod
    def registered(cls, owner: Caller, **fields: Any) -> Program:
        """A client that its owner registers now."""
        body = {"name": "Program", "scopes": list(SCOPES), "grant_types": []} | fields
        answer = owner.post("/oauth-clients", body)
        assert answer.status_code == 201, answer.text
        made = answer.json or {}
        return cls(owner.app, owner, made["id"], made["client_id"], made["client_secret"])

    def post(self, path: str, *, secret: str | None = None, **form: Any) -> TestResponse:
        """A form, authenticated as the client is."""
        secret = secret or self.secret
        if secret is None:
            return self.app.test_client().post(path, data=form | {"client_id": self.client_id})
        return self.app.test_client().post(path, data=form, auth=(self.client_id, secret))

    def ask(self, **form: Any) -> TestResponse:
        """A request for a token."""
        return self.post("/oauth/token", **form)

    def token(self, **form: Any) -> dict[str, Any]:
        """What the token endpoint gives for its own credentials."""
        answer = self.ask(grant_type="client_credentials", **form)
        assert answer.status_code == 200, answer.text
        return dict(answer.json or {})

    def access_token(self, **form: Any) -> str:
        """An access token for its own credentials."""
        return str(self.token(**form)["access_token"])

    def links(self, token: str) -> TestResponse:
        """A call of the API with a token."""
        headers = {"Authorization": f"Bearer {token}"}
        return self.app.test_client().get("/api/v1/links", headers=headers)


def oauth_error(answer: TestResponse, error: str, status: int = 400) -> dict[str, Any]:
    """The error of RFC 6749 section 5.2 that must have been answered."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    body = dict(answer.json or {})
    assert body["error"] == error, body
    return body
