"""Tokens that were given out, found again: to tell about them, and to revoke them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import TokenMixin

from api.core.database.routing import Database
from api.core.errors import Unauthenticated
from api.oauth.clients import Client, scope_text
from api.oauth.revocations import TOKEN, Revocations
from api.oauth.tokens import AccessToken, Tokens, looks_like_token
from api.oauth.verifier import TokenVerifier


@dataclass(frozen=True, slots=True)
class Given(TokenMixin):  # type: ignore[misc] # the library has no types
    """A token that counts."""

    client_id: str
    workspace_id: int
    facts: dict[str, Any]
    access: AccessToken | None = None

    def check_client(self, client: Client) -> bool:
        """Whether it was given to this client."""
        return self.client_id == client.client_id

    def is_expired(self) -> bool:
        return False

    def is_revoked(self) -> bool:
        return False


class GivenTokens:
    """Finds tokens by their text."""

    def __init__(
        self, db: Database, tokens: Tokens, verifier: TokenVerifier, revocations: Revocations
    ) -> None:
        self._db = db
        self._tokens = tokens
        self._verifier = verifier
        self._revocations = revocations

    def find(self, text: str) -> Given | None:
        """The token, where it counts; what kind it is can be seen from it, without a hint."""
        return self._find_access(text) if looks_like_token(text) else None

    def revoke(self, given: Given) -> None:
        """End a token now, everywhere."""
        with self._db.write_directory() as session:
            rows = []
            if given.access is not None:
                rows.append(self._revocations.revoke(session, TOKEN, given.access.token_id))
        self._revocations.tell(rows)

    def _find_access(self, text: str) -> Given | None:
        try:
            token = self._verifier.token_of(text)
        except Unauthenticated:
            return None
        facts = {
            "token_type": "Bearer",  # nosec B105 - the name of a scheme
            "scope": scope_text(token.scopes),
            "sub": token.subject,
            "aud": self._tokens.audience,
            "iss": self._tokens.issuer,
            "jti": token.token_id,
            "iat": token.issued_at,
            "exp": token.expires_at,
        }
        return Given(token.client_id, token.workspace_id, facts, token)
