"""Who is calling, and what a credential lets them do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

SCOPES = {
    "links:read": "Read links and their QR codes",
    "links:write": "Create, change and delete links",
    "stats:read": "Read statistics and raw clicks",
    "transfers": "Export and import",
    "workspace:admin": "Manage the workspace, its members, its keys and its domains",
}
# What a user may do in a workspace by their role; all that a credential of theirs can ever give.
ROLES = {
    "owner": frozenset(SCOPES),
    "editor": frozenset(("links:read", "links:write", "stats:read", "transfers")),
    "viewer": frozenset(("links:read", "stats:read")),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one request: a credential, and the workspace for which it acts."""

    workspace_id: int
    # The id of the API key; 0 for a token.
    credential_id: int
    # What it may do now: with a user, no more than that user's role gives.
    scopes: frozenset[str]
    # Whose credential it is; None for one of the workspace itself.
    user_id: int | None = None
    # The OAuth client that a token was given to, and the token's own id.
    client_id: str | None = None
    token_id: str | None = None
    # What people know it by: the address of the user, the name of the key or of the client.
    name: str | None = field(default=None, compare=False)

    @property
    def reference(self) -> str:
        """Who it is, as anybody may know it: `key:7`, `user:45` or `client:abc`."""
        if self.credential_id:
            return f"key:{self.credential_id}"
        return f"user:{self.user_id}" if self.user_id else f"client:{self.client_id}"


# Turns the text of a credential into a principal; raises `Unauthenticated`.
Authenticator: TypeAlias = Callable[[str], Principal]
# Lets a request of a caller through, or raises what it is answered with; and gives the headers that
# tell how much is left.
Limiter: TypeAlias = Callable[[Principal, bool], Mapping[str, str]]
