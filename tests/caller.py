"""Clients of the API that hold a key, and the people behind them."""

from __future__ import annotations

import functools
import uuid
from dataclasses import dataclass, replace
from typing import Any

from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from api.core.principal import SCOPES
from api.identity.passwords import hash_of
from api.identity.service import IdentityService
from api.identity.users import UserService

BASE = "/api/v1"
# Of every user that is made here.
PASSWORD = "seven quiet ferries at noon"
_SET_HASH = text("UPDATE users SET password_hash = :hash WHERE id = :user")


@functools.cache
def _hash() -> str:
    # It takes a tenth of a second and 64 MB, on purpose: once, and not for every user.
    return hash_of(PASSWORD)


@dataclass(frozen=True)
class Caller:
    """Sends requests with the key of one workspace."""

    app: Flask
    identity: IdentityService
    workspace_id: int
    key: str
    # Whose key it is; 0: of the workspace itself.
    user_id: int = 0

    @classmethod
    def of_new_workspace(cls, app: Flask, identity: IdentityService) -> Caller:
        """A caller with every scope of a new workspace."""
        workspace = identity.create_workspace("Test").id
        _, key = identity.create_key(workspace, name="Test key")
        return cls(app, identity, workspace, key)

    def with_role(self, role: str, email: str = "") -> Caller:
        """A new user with this role in the same workspace, with a key that has all it may have."""
        users: UserService = self.app.extensions["signpost.services"][UserService]
        user = users.create_user(
            email=email or f"{role}-{uuid.uuid4().hex[:12]}@example.com",
            name=role.capitalize(),
            password=None,
            workspace=self.workspace_id,
            role=role,
        )
        with self.identity._db.write_directory() as session:
            session.execute(_SET_HASH, {"hash": _hash(), "user": user.id})
        _, key = self.identity.create_key(self.workspace_id, name=f"Of {role}", user=user.id)
        return replace(self, key=key, user_id=user.id)

    def with_scopes(self, *scopes: str) -> Caller:
        """A caller of the same workspace with only these scopes."""
        _, key = self.identity.create_key(self.workspace_id, name="Narrow", scopes=scopes)
        return replace(self, key=key, user_id=0)

    def without(self, scope: str) -> Caller:
        """A caller of the same workspace that lacks one scope."""
        return self.with_scopes(*(other for other in SCOPES if other != scope))

    def request(self, method: str, path: str, **kwargs: Any) -> TestResponse:
        """A request below `/api/v1`."""
        headers = {"Authorization": f"Bearer {self.key}"} | dict(kwargs.pop("headers", {}))
        return self.app.test_client().open(BASE + path, method=method, headers=headers, **kwargs)

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        return self.request("GET", path, **kwargs)

    def post(self, path: str, json: Any = None, **kwargs: Any) -> TestResponse:
        return self.request("POST", path, json=json, **kwargs)

    def patch(self, path: str, json: Any = None, **kwargs: Any) -> TestResponse:
        return self.request("PATCH", path, json=json, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> TestResponse:
        return self.request("DELETE", path, **kwargs)

    def create_link(self, url: str = "https://example.com/", **fields: Any) -> dict[str, Any]:
        """A link that must come to be."""
        response = self.post("/links", {"url": url, **fields})
        assert response.status_code == 201, response.text
        return dict(response.json or {})
