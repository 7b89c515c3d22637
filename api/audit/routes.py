"""`/audit-events`."""

from __future__ import annotations

from typing import Any

from flask import Response

from api.audit.schemas import EVENT_PAGE, EVENT_QUERY, present_event
from api.audit.service import AuditLog, EventFilter
from api.core.http import Blueprint, page_response, principal
from api.core.registry import service

blueprint = Blueprint("audit", __name__, description="Who did what to which thing")


@blueprint.route("/audit-events")
@blueprint.scope("workspace:admin")
@blueprint.takes_query(EVENT_QUERY)
@blueprint.answers(200, EVENT_PAGE, headers=("Link",))
def list_audit_events(query: dict[str, Any]) -> Response:
    """List what was done in the workspace, newest first"""
    page = {name: query.pop(name) for name in ("limit", "cursor")}
    rows, cursor = service(AuditLog).list_events(
        principal().workspace_id, EventFilter(**query), **page
    )
    return page_response([present_event(row) for row in rows], cursor)
