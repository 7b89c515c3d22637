"""`/workspaces/{id}/archive`."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response, request

from api.core.errors import NotFound
from api.core.http import Blueprint, principal, still_allowed
from api.core.peer import Connection
from api.core.registry import service
from api.transfers.archives.service import ArchiveService

blueprint = Blueprint("archives", __name__, description="All of a workspace in one file")

_ZIP = "application/zip"


@blueprint.route("/workspaces/<id:workspace_id>/archive")
@blueprint.scope("workspace:admin")
@blueprint.answers(200, content_types=(_ZIP,), description="A ZIP archive, streamed")
@blueprint.fails(404, 429, 503)
def archive_workspace(workspace_id: int) -> Response:
    """Download everything of a workspace

    Links, clicks, statistics, people, domains, keys and clients without their secrets, and the
    audit log, as NDJSON in a ZIP archive that is made while it is sent. Its last file,
    `manifest.json`, has rows and SHA-256 of all others: an archive without it was cut off.
    """
    if workspace_id != principal().workspace_id:
        raise NotFound("There is no such workspace.")
    peer = Connection(request.environ.get("gunicorn.socket"))
    stream = service(ArchiveService).open(workspace_id, peer, still_allowed())
    response = Response(stream, content_type=_ZIP)
    name = f"workspace-{workspace_id}-{datetime.now(UTC):%Y-%m-%d}.zip"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response
