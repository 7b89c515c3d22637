"""What an event of the audit log says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from api.core.principal import Principal


@dataclass(frozen=True, slots=True)
class Thing:
    """Somebody or something, as the log names it."""

    kind: str
    id: str | None = None
    name: str | None = None


NOBODY = Thing("nobody")


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Who (`actor`) did what (`action`, a `thing.verb`) to which thing (`target`).

    `details` hold what else is worth knowing, and no secret. `address` and `request_id` are those
    of the running request unless they are given.
    """

    action: str
    actor: Thing = NOBODY
    # None: of the installation as a whole.
    workspace_id: int | None = None
    # The key or the client through which a user did it.
    via: Thing | None = None
    target: Thing | None = None
    address: str | None = None
    request_id: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Change(NamedTuple):
    """One of several things that were changed at once."""

    action: str
    target: Thing | None
    # None: that of the event.
    workspace_id: int | None = None


class Recorder(Protocol):
    """Writes events, which are committed when it returns. What cannot be written is logged, and
    raises nothing: the changes stand."""

    def __call__(self, event: AuditEvent, changes: Iterable[Change] | None = None) -> object:
        """Write an event, or one like it about each of several changes."""


def actor_of(caller: Principal) -> tuple[Thing, Thing | None]:
    """Who a caller is to the log, and through what they act: the user counts, if there is one."""
    if caller.client_id is not None:
        credential = Thing("client", caller.client_id, caller.name)
    else:
        credential = Thing("key", str(caller.credential_id), caller.name)
    if caller.user_id is None:
        return credential, None
    return Thing("user", str(caller.user_id), caller.name), Thing(credential.kind, credential.id)
