"""`/workspaces` and `/api-keys`."""

from __future__ import annotations

from typing import Any

from flask import Response

from api.core.answers import json_response
from api.core.auditing import note_changes
from api.core.errors import NotFound
from api.core.events import Change, Thing
from api.core.http import MERGE_PATCH, Blueprint, page_response, principal
from api.core.registry import service
from api.identity.schemas import (
    KEY_IN,
    KEY_PAGE,
    PAGE_QUERY,
    WORKSPACE_IN,
    WORKSPACE_PAGE,
    WORKSPACE_PATCH,
    ApiKeyOut,
    NewApiKeyOut,
    NewWorkspaceOut,
    WorkspaceOut,
    present_key,
    present_workspace,
)
from api.identity.service import IdentityService

blueprint = Blueprint("identity", __name__, description="Workspaces and the keys that act for them")


def _identity() -> IdentityService:
    return service(IdentityService)


def _own(workspace: int) -> int:
    if workspace != principal().workspace_id:
        raise NotFound("There is no such workspace.")
    return workspace


@blueprint.route("/workspaces")
@blueprint.scope("workspace:admin")
@blueprint.answers(200, WORKSPACE_PAGE)
def list_workspaces() -> Response:
    """List the workspaces that the caller may manage"""
    row = _identity().get_workspace(principal().workspace_id)
    return page_response([present_workspace(row)], None)


@blueprint.route("/workspaces", methods=["POST"])
@blueprint.scope("workspace:admin")
@blueprint.takes_body(WORKSPACE_IN)
@blueprint.audited("workspace.create")
@blueprint.answers(201, NewWorkspaceOut, headers=("Location",))
@blueprint.fails(409)
def create_workspace(body: dict[str, Any]) -> Response:
    """Make a workspace, whose owner is the user behind the credential

    The credential goes on acting for its own workspace: ask for a key, or sign in to the new one.
    """
    row, key = _identity().create_own_workspace(principal(), **body)
    # Told in the new workspace's log, and in that of the one from which it was made; without its
    # name, which would be left there when it is erased.
    note_changes(
        Change("workspace.create", Thing("workspace", str(row.id)), workspace)
        for workspace in (row.id, principal().workspace_id)
    )
    headers = {"Location": f"/api/v1/workspaces/{row.id}", "Cache-Control": "no-store"}
    shown = present_workspace(row) | ({"key": key} if key else {})
    return json_response(shown, 201, headers)


@blueprint.route("/workspaces/<id:workspace_id>")
@blueprint.scope("workspace:admin")
@blueprint.answers(200, WorkspaceOut)
@blueprint.fails(404)
def get_workspace(workspace_id: int) -> Response:
    """Read a workspace"""
    return json_response(present_workspace(_identity().get_workspace(_own(workspace_id))))


@blueprint.route("/workspaces/<id:workspace_id>", methods=["PATCH"])
@blueprint.scope("workspace:admin")
@blueprint.takes_body(WORKSPACE_PATCH, media_types=(MERGE_PATCH,))
@blueprint.audited("workspace.update")
@blueprint.answers(200, WorkspaceOut)
@blueprint.fails(404)
def update_workspace(workspace_id: int, body: dict[str, Any]) -> Response:
    """Change a workspace (JSON Merge Patch, RFC 7396)"""
    row = _identity().update_workspace(_own(workspace_id), body)
    return json_response(present_workspace(row))


@blueprint.route("/api-keys", methods=["POST"])
@blueprint.scope("workspace:admin")
@blueprint.takes_body(KEY_IN)
@blueprint.audited("key.create", tell=("name", "scopes"))
@blueprint.answers(201, NewApiKeyOut, headers=("Location",))
def create_api_key(body: dict[str, Any]) -> Response:
    """Make an API key; the answer is the only one that shows it"""
    row, text = _identity().create_key(principal().workspace_id, **body, granted_by=principal())
    location = {"Location": f"/api/v1/api-keys/{row.id}", "Cache-Control": "no-store"}
    return json_response(present_key(row) | {"key": text}, 201, location)


@blueprint.route("/api-keys")
@blueprint.scope("workspace:admin")
@blueprint.takes_query(PAGE_QUERY)
@blueprint.answers(200, KEY_PAGE, headers=("Link",))
def list_api_keys(query: dict[str, Any]) -> Response:
    """List the API keys, newest first"""
    rows, cursor = _identity().list_keys(principal().workspace_id, **query)
    return page_response([present_key(row) for row in rows], cursor)


@blueprint.route("/api-keys/<id:key_id>")
@blueprint.scope("workspace:admin")
@blueprint.answers(200, ApiKeyOut)
@blueprint.fails(404)
def get_api_key(key_id: int) -> Response:
    """Read one API key, without the key itself"""
    return json_response(present_key(_identity().get_key(principal().workspace_id, key_id)))


@blueprint.route("/api-keys/<id:key_id>", methods=["DELETE"])
@blueprint.scope("workspace:admin")
@blueprint.audited("key.revoke")
@blueprint.answers(204)
@blueprint.fails(404)
def revoke_api_key(key_id: int) -> Response:
    """Revoke an API key, for good"""
    _identity().revoke_key(principal().workspace_id, key_id)
    return Response(status=204)
