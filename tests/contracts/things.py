"""One of each thing that a workspace can have, by the argument that a path has for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.caller import Caller

_PROGRAM = {"name": "Theirs", "grant_types": ["client_credentials"], "scopes": ["links:read"]}


@dataclass(frozen=True)
class Things:
    """What a workspace has: some of each, so that lists have more than a page of one."""

    owner: Caller
    ids: dict[str, str]
    host: str
    slug: str

    @classmethod
    def of(cls, owner: Caller, mark: str) -> Things:
        """Make all of them; `mark` is in every name."""
        ids = {"workspace_id": str(owner.workspace_id)}
        host, link = f"{mark}.example", {}
        for number in range(2):
            named = {"name": f"{mark} {number}"}
            invited = {"email": f"{mark}{number}@example.com", "role": "viewer"}
            blocked = {"kind": "host", "value": f"{number}.evil-{mark}.example"}
            ids |= {
                "key_id": _made(owner, "/api-keys", named),
                "domain_id": _made(owner, "/domains", {"host": f"{number}.{host}"}),
                "invitation_id": _made(owner, "/invitations", invited),
                "oauth_client_id": _made(owner, "/oauth-clients", _PROGRAM | named),
                "blocked_target_id": _made(owner, "/blocked-targets", blocked),
                "import_id": _imported(owner),
                "user_id": str(owner.with_role("viewer").user_id),
            }
            link = owner.create_link(f"https://example.com/{mark}", tags=[mark], title=mark)
        return cls(owner, ids | {"link_id": link["id"]}, f"1.{host}", link["slug"])

    def identifiers(self) -> set[str]:
        """What no answer to a stranger may hold."""
        return set(self.ids.values()) | {self.host, self.slug}


def _imported(owner: Caller) -> str:
    rows = b'{"url": "https://example.com/"}'
    answer = owner.request("POST", "/imports", data=rows, content_type="application/x-ndjson")
    assert answer.status_code == 202, answer.text
    return str((answer.json or {})["id"])


def _made(owner: Caller, path: str, body: dict[str, Any]) -> str:
    answer = owner.post(path, body)
    assert answer.status_code == 201, answer.text
    return str((answer.json or {})["id"])
