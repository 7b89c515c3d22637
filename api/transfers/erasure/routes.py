"""`/workspaces/{id}/erasure` and `/erasures`."""

from __future__ import annotations

from typing import Any

from flask import Response

from api.core.answers import json_response
from api.core.errors import NotFound
from api.core.http import Blueprint, principal
from api.core.registry import service
from api.transfers.erasure.certificate import Certificates
from api.transfers.erasure.schemas import (
    ERASURE_IN,
    NewWorkspaceErasureOut,
    WorkspaceErasureOut,
    present_erasure,
)
from api.transfers.erasure.service import ErasureService

blueprint = Blueprint("erasures", __name__, description="The end of a workspace, and its proof")

_NOT_KEPT = {"Cache-Control": "no-store"}


@blueprint.route("/workspaces/<id:workspace_id>/erasure", methods=["POST"])
@blueprint.scope("workspace:admin")
@blueprint.takes_body(ERASURE_IN)
@blueprint.audited("workspace.erase")
@blueprint.answers(202, NewWorkspaceErasureOut, headers=("Location",))
@blueprint.fails(404, 409)
def erase_workspace(workspace_id: int, body: dict[str, Any]) -> Response:
    """Erase a workspace and all that belongs to it, for good

    From the answer on none of its keys and tokens counts, this one included, and its links lead
    nowhere. `Location` tells how far it is, to whoever knows the address, and in the end proves it.
    """
    if workspace_id != principal().workspace_id:
        raise NotFound("There is no such workspace.")
    erasure, token = service(ErasureService).ask(workspace_id, body["name"])
    headers = {"Location": f"/api/v1/erasures/{token}"} | _NOT_KEPT
    return json_response(present_erasure(erasure, None) | {"token": token}, 202, headers)


@blueprint.route("/erasures/<token>")
@blueprint.public
@blueprint.answers(200, WorkspaceErasureOut)
@blueprint.fails(404)
def get_erasure(token: str) -> Response:
    """Read how far an erasure is, and its certificate"""
    erasure = service(ErasureService).get(token)
    certificate = service(Certificates).write(erasure)
    return json_response(present_erasure(erasure, certificate), headers=_NOT_KEPT)
