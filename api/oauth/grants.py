"""The grants: what a client shows, and what it gets for it."""

from __future__ import annotations

from typing import Any

from authlib.oauth2.rfc6749 import InvalidScopeError
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from api.oauth.clients import ANY_METHOD, SECRET_METHODS, Client
from api.oauth.given import Given
from api.oauth.issuing import NothingGranted

TokenAnswer = tuple[int, dict[str, Any], list[tuple[str, str]]]


class ClientCredentials(ClientCredentialsGrant):  # type: ignore[misc] # the library has no types
    """A client for itself (RFC 6749 section 4.4)."""

    TOKEN_ENDPOINT_AUTH_METHODS = SECRET_METHODS

    def create_token_response(self) -> TokenAnswer:
        client = self.request.client
        scope = client.get_allowed_scope(self.request.payload.scope)
        if scope is None:
            raise InvalidScopeError
        try:
            token = self.server.issuer.for_client(client, frozenset(scope.split()))
        except NothingGranted:
            raise InvalidScopeError from None
        return 200, token, self.TOKEN_RESPONSE_HEADER


class Revocation(RevocationEndpoint):  # type: ignore[misc]
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
