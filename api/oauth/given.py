"""Tokens that were given out, found again: to tell about them, and to revoke them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import TokenMixin

from api.core.database.routing import Database
from api.core.errors import Unauthenticated
from api.oauth import grant_store
from api.oauth.clients import Client, digest_of, scope_text
from api.oauth.consents import Consents
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
    grant_id: int = 0

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
        self,
        db: Database,
        tokens: Tokens,
        verifier: TokenVerifier,
        revocations: Revocations,
        consents: Consents,
    ) -> None:
        self._db = db
        self._tokens = tokens
        self._verifier = verifier
        self._revocations = revocations
        self._consents = consents

    def find(self, text: str) -> Given | None:
        """The token, where it counts; what kind it is can be seen from it, without a hint."""
        return self._find_access(text) if looks_like_token(text) else self._find_refresh(text)

    def revoke(self, given: Given) -> None:
        """End a token now, everywhere; with a refresh token all that came of the same consent
        (RFC 7009 section 2.1)."""
        if given.access is None:
            self._consents.end(given.grant_id)
            return
        with self._db.write_directory() as session:
            row = self._revocations.revoke(session, TOKEN, given.access.token_id)
        self._revocations.tell([row])

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

    def _find_refresh(self, text: str) -> Given | None:
        with self._db.read_directory() as session:
            row = grant_store.get_refresh_token(session, digest_of(text))
        if row is None or row.used_at or row.expired or row.revoked_at:
            return None
        facts = {
            "token_type": "refresh_token",  # nosec B105 - the name of a kind
            "scope": scope_text(row.scopes),
            "sub": str(row.user_id),
            "iss": self._tokens.issuer,
            "exp": int(row.expires_at.timestamp()),
        }
        return Given(row.client_id, row.workspace_id, facts, grant_id=row.grant_id)
