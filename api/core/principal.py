"""Who is calling, and what a credential lets them do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

SCOPES = {
    "links:read": "Read links and their QR codes",
    "links:write": "Create, change and delete links",
    "stats:read": "Read statistics and raw clicks",
    "transfers": "Export and import",
    "workspace:admin": "Manage the workspace, its keys and its domains",
}


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one request: a credential of a workspace."""

    workspace_id: int
    credential_id: int
    scopes: frozenset[str]


# Turns the text of a credential into a principal; raises `Unauthenticated`.
Authenticator: TypeAlias = Callable[[str], Principal]
