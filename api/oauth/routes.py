"""`/oauth-clients`."""

from __future__ import annotations

from typing import Any

from flask import Response

from api.core.answers import json_response
from api.core.http import MERGE_PATCH, Blueprint, page_response, principal
from api.core.registry import service
from api.oauth.schemas import (
    CLIENT_IN,
    CLIENT_PAGE,
    CLIENT_PATCH,
    PAGE_QUERY,
    NewOAuthClientOut,
    OAuthClientOut,
    present_client,
)
from api.oauth.service import OAuthClients

blueprint = Blueprint("oauth_clients", __name__, description="Programs that get tokens by OAuth 2")
_NO_STORE = {"Cache-Control": "no-store"}


def _clients() -> OAuthClients:
    return service(OAuthClients)


@blueprint.route("/oauth-clients", methods=["POST"])
@blueprint.scope("workspace:admin")
@blueprint.takes_body(CLIENT_IN)
@blueprint.audited("oauth_client.create", tell=("name", "client_type", "grant_types", "scopes"))
@blueprint.answers(201, NewOAuthClientOut, headers=("Location",))
def create_oauth_client(body: dict[str, Any]) -> Response:
    """Register an OAuth client; the answer is the only one that shows its secret"""
    caller = principal()
    row, secret = _clients().create_client(caller.workspace_id, **body, granted_by=caller)
    headers = _NO_STORE | {"Location": f"/api/v1/oauth-clients/{row.id}"}
    return json_response(present_client(row) | {"client_secret": secret}, 201, headers)


@blueprint.route("/oauth-clients")
@blueprint.scope("workspace:admin")
@blueprint.takes_query(PAGE_QUERY)
@blueprint.answers(200, CLIENT_PAGE, headers=("Link",))
def list_oauth_clients(query: dict[str, Any]) -> Response:
    """List the OAuth clients, newest first"""
    rows, cursor = _clients().list_clients(principal().workspace_id, **query)
    return page_response([present_client(row) for row in rows], cursor)


@blueprint.route("/oauth-clients/<id:oauth_client_id>")
@blueprint.scope("workspace:admin")
@blueprint.answers(200, OAuthClientOut)
@blueprint.fails(404)
def get_oauth_client(oauth_client_id: int) -> Response:
    """Read one OAuth client, without its secret"""
    row = _clients().get_client(principal().workspace_id, oauth_client_id)
    return json_response(present_client(row))


@blueprint.route("/oauth-clients/<id:oauth_client_id>", methods=["PATCH"])
@blueprint.scope("workspace:admin")
@blueprint.takes_body(CLIENT_PATCH, media_types=(MERGE_PATCH,))
@blueprint.audited("oauth_client.update", tell=("grant_types", "scopes"))
@blueprint.answers(200, OAuthClientOut)
@blueprint.fails(404)
def update_oauth_client(oauth_client_id: int, body: dict[str, Any]) -> Response:
    """Change an OAuth client (JSON Merge Patch, RFC 7396)"""
    caller = principal()
    row = _clients().update_client(caller.workspace_id, oauth_client_id, body, caller)
    return json_response(present_client(row))


@blueprint.route("/oauth-clients/<id:oauth_client_id>/secret", methods=["POST"])
@blueprint.scope("workspace:admin")
@blueprint.audited("oauth_client.renew_secret")
@blueprint.answers(200, NewOAuthClientOut)
@blueprint.fails(404, 409)
def renew_oauth_client_secret(oauth_client_id: int) -> Response:
    """Give an OAuth client a new secret; the old one counts no more"""
    caller = principal()
    row, secret = _clients().renew_secret(caller.workspace_id, oauth_client_id, caller)
    return json_response(present_client(row) | {"client_secret": secret}, 200, _NO_STORE)


@blueprint.route("/oauth-clients/<id:oauth_client_id>", methods=["DELETE"])
@blueprint.scope("workspace:admin")
@blueprint.audited("oauth_client.delete")
@blueprint.answers(204)
@blueprint.fails(404)
def delete_oauth_client(oauth_client_id: int) -> Response:
    """Delete an OAuth client, and end every token that it was given"""
    _clients().delete_client(principal().workspace_id, oauth_client_id)
    return Response(status=204)
