"""`/links/{id}/clicks`."""

from __future__ import annotations

from typing import Any

from flask import Response

from api.clicks.erasure import ClickEraser
from api.clicks.schemas import CLICK_PAGE, CLICK_QUERY, ErasureOut, present_click, present_erasure
from api.clicks.service import ClickService
from api.core.answers import json_response
from api.core.http import Blueprint, page_response, principal
from api.core.registry import service

blueprint = Blueprint("clicks", __name__, description="Raw clicks")


@blueprint.route("/links/<id:link_id>/clicks")
@blueprint.scope("stats:read")
@blueprint.takes_query(CLICK_QUERY)
@blueprint.answers(200, CLICK_PAGE, headers=("Link",))
@blueprint.fails(404)
def list_clicks(link_id: int, query: dict[str, Any]) -> Response:
    """List the clicks of a link, newest first"""
    rows, cursor = service(ClickService).list_clicks(principal().workspace_id, link_id, **query)
    return page_response([present_click(row) for row in rows], cursor)


@blueprint.route("/links/<id:link_id>/clicks", methods=["DELETE"])
@blueprint.scope("links:write")
@blueprint.audited("clicks.erase")
@blueprint.answers(202, ErasureOut)
@blueprint.answers(204)
@blueprint.fails(404)
def erase_clicks(link_id: int) -> Response:
    """Erase the clicks and the statistics of a link until now, also of a deleted link"""
    erasure = service(ClickEraser).erase_link_clicks(principal().workspace_id, link_id)
    if erasure.finished:
        return Response(status=204)
    return json_response(present_erasure(erasure), 202)
