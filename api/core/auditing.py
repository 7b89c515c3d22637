"""Events of the audit log about what requests change."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, cast

from flask import Response, current_app, g, has_request_context

from api.core.events import AuditEvent, Change, Recorder, Thing, actor_of
from api.core.principal import Principal
from api.core.requests import request_address


def note_changes(changes: Iterable[Change]) -> None:
    """Have each of several changes told by an event of its own, instead of one for the request."""
    g.audit_changes = list(changes)


def record_request(
    action: str, details: dict[str, Any], arguments: dict[str, Any], response: Response
) -> None:
    """Write what the running request has done: to the thing that its path names, or that it made.

    Several changes that the view has noted are told one by one.
    """
    caller = cast(Principal, g.principal)
    changes = g.pop("audit_changes", None)
    target = _target(action, arguments, response) if changes is None else None
    actor, via = actor_of(caller)
    record: Recorder = current_app.extensions["signpost.audit"]
    record(AuditEvent(action, actor, caller.workspace_id, via, target, details=details), changes)


def told_of(body: dict[str, Any], names: Collection[str], *, patch: bool) -> dict[str, Any]:
    """Of a body: the values of `names`, and of a patch which fields it changes."""
    details: dict[str, Any] = {name: body[name] for name in names if name in body}
    if patch:
        details["fields"] = sorted(body)
    return details


def request_facts() -> tuple[str | None, str | None]:
    """Address and id of the running request; nothing outside of one."""
    if not has_request_context():
        return None, None
    return request_address(), g.get("request_id")


def _target(action: str, arguments: dict[str, Any], response: Response) -> Thing | None:
    for name, value in arguments.items():
        return Thing(name.removesuffix("_id"), str(value))
    if action.startswith("user."):  # of the caller's own, which no path names
        return Thing("user", str(cast(Principal, g.principal).user_id))
    location = response.headers.get("Location")
    if location is None:
        return None
    return Thing(action.partition(".")[0], location.rpartition("/")[2])
