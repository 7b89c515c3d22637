"""What a client can find out about the server by itself (RFC 8414)."""

from __future__ import annotations

from typing import Any

from api.core.principal import SCOPES
from api.oauth.clients import ANY_METHOD, GRANT_TYPES, SECRET_METHODS


def metadata(issuer: str) -> dict[str, Any]:
    """The authorization server's metadata."""
    with_secret, with_any = [*SECRET_METHODS], [*ANY_METHOD]
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "device_authorization_endpoint": f"{issuer}/oauth/device_authorization",
        "token_endpoint": f"{issuer}/oauth/token",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "service_documentation": f"{issuer}/docs",
        "scopes_supported": [*SCOPES],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [*GRANT_TYPES],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "token_endpoint_auth_methods_supported": with_any,
        "revocation_endpoint_auth_methods_supported": with_any,
        "introspection_endpoint_auth_methods_supported": with_secret,
    }
