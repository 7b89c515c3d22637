"""Gives out access tokens: for how long, and with which scopes."""

from __future__ import annotations

import math
import secrets
from typing import Any

from api.core.database.routing import Database, ReadSession
from api.core.errors import DomainError
from api.oauth import revocation_store
from api.oauth.clients import Client, scope_text
from api.oauth.lives import TOKEN_SECONDS
from api.oauth.revocations import subjects_of
from api.oauth.tokens import AccessToken, Tokens


class NothingGranted(DomainError):
    """None of the scopes may be given that are asked for."""

    code = "nothing-granted"
    title = "None of the scopes may be given"


class TokenIssuer:
    """Gives out access tokens."""

    def __init__(self, db: Database, tokens: Tokens) -> None:
        self._db = db
        self._tokens = tokens

    def for_client(self, client: Client, scopes: frozenset[str]) -> dict[str, Any]:
        """A token with which a client acts for its own workspace (RFC 6749 section 4.4)."""
        with self._db.read_directory() as session:
            return self.give(
                session,
                client_id=client.client_id,
                workspace_id=client.workspace_id,
                scopes=scopes & client.scopes,
            )

    def give(self, session: ReadSession, **facts: Any) -> dict[str, Any]:
        """The answer of the token endpoint (RFC 6749 section 5.1), without a refresh token.

        The time is the directory's, by which it also says what is revoked; a token that is given
        just after a revocation is dated past it.

        Raises:
            NothingGranted: the token could do nothing.
        """
        if not facts["scopes"]:
            raise NothingGranted
        draft = AccessToken(token_id=secrets.token_hex(16), issued_at=0, expires_at=0, **facts)
        now, revoked = revocation_store.get_moment(session, subjects_of(draft))
        issued_at = math.floor(now.timestamp())
        if revoked is not None:
            issued_at = max(issued_at, math.floor(revoked.timestamp()) + 1)
        token = AccessToken(
            token_id=draft.token_id,
            issued_at=issued_at,
            expires_at=issued_at + TOKEN_SECONDS,
            **facts,
        )
        return {
            "access_token": self._tokens.write(token),
            "token_type": "Bearer",  # nosec B105 - the name of a scheme
            "expires_in": TOKEN_SECONDS,
            "scope": scope_text(token.scopes),
        }
