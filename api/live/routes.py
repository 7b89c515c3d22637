"""`/live` and `/links/{id}/live`."""

from __future__ import annotations

from flask import Response, request

from api.core.http import Blueprint, principal, still_allowed
from api.core.peer import Connection
from api.core.registry import service
from api.live.service import LiveService

EVENT_STREAM = "text/event-stream"

blueprint = Blueprint("live", __name__, description="Clicks as they are counted")

_DESCRIPTION = """\
A stream of server-sent events that begins now and goes on until you leave. Events:

- `click`: one click, as in the list of clicks, with `link_id` and without `visitor` and `address`.
- `skipped`: `count` clicks are not told one by one: too many came at once, or you read too slowly.
- `gap`: clicks between `since` and `until` may be missing (null: not known); `clicks` is where \
they can be read. `reason` is `lost` when clicks stop arriving, `resumed` when they arrive again, \
and `returned` at the beginning of a stream with `Last-Event-ID`: nothing is kept for who was away.

A comment comes every few seconds in which nothing else does. Every click is counted, told or not.
"""
_LAST_EVENT_ID = {
    "in": "header",
    "name": "Last-Event-ID",
    "description": "`id` of the last event that was received; browsers send it by themselves.",
    "schema": {"type": "string", "maxLength": 255},
}


@blueprint.route("/live")
@blueprint.scope("stats:read")
@blueprint.describes(description=_DESCRIPTION, parameters=[_LAST_EVENT_ID])
@blueprint.answers(200, content_types=(EVENT_STREAM,), description="The stream")
@blueprint.fails(429, 503)
def watch_workspace() -> Response:
    """Watch the clicks of all links of the workspace"""
    return _watch(None)


@blueprint.route("/links/<id:link_id>/live")
@blueprint.scope("stats:read")
@blueprint.describes(description=_DESCRIPTION, parameters=[_LAST_EVENT_ID])
@blueprint.answers(200, content_types=(EVENT_STREAM,), description="The stream")
@blueprint.fails(404, 429, 503)
def watch_link(link_id: int) -> Response:
    """Watch the clicks of a link"""
    return _watch(link_id)


def _watch(link_id: int | None) -> Response:
    stream = service(LiveService).watch(
        principal().workspace_id,
        link_id,
        peer=Connection(request.environ.get("gunicorn.socket")),
        allowed=still_allowed(),
        last_event_id=request.headers.get("Last-Event-ID"),
    )
    response = Response(stream, content_type=EVENT_STREAM)
    response.headers["Cache-Control"] = "no-store"
    # nginx would hold events back until its buffer is full.
    response.headers["X-Accel-Buffering"] = "no"
    return response
