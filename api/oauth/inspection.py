"""What clients ask about tokens that were given out."""

from __future__ import annotations

from typing import Any

from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from api.oauth.clients import ANY_METHOD, SECRET_METHODS, Client
from api.oauth.given import Given


class Revocation(RevocationEndpoint):  # type: ignore[misc] # the library has no types
    """RFC 7009; a token that is nobody's or has ended is no error (section 2.2)."""

    CLIENT_AUTH_METHODS = ANY_METHOD

    def query_token(self, token_string: str, token_type_hint: str | None) -> Given | None:
        del token_type_hint
        found: Given | None = self.server.given.find(token_string)
        return found

    def revoke_token(self, token: Given, request: Any) -> None:
        del request
        self.server.given.revoke(token)


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    """RFC 7662, for clients that can prove who they are: of their own tokens, and of those that
    reach into their own workspace."""

    CLIENT_AUTH_METHODS = SECRET_METHODS

    def query_token(self, token_string: str, token_type_hint: str | None) -> Given | None:
        del token_type_hint
        found: Given | None = self.server.given.find(token_string)
        return found

    def check_permission(self, token: Given, client: Client, request: Any) -> bool:
        del request
        return token.check_client(client) or token.workspace_id == client.workspace_id

    def introspect_token(self, token: Given) -> dict[str, Any]:
        facts = {"client_id": token.client_id, "workspace_id": str(token.workspace_id)}
        return {"active": True} | facts | token.facts
