"""`/links/{id}/stats` and `/stats`."""

from __future__ import annotations

from typing import Any

from flask import Response

from api.core.answers import json_response
from api.core.http import Blueprint, principal
from api.core.registry import service
from api.stats.schemas import STATS_QUERY, StatsOut, present_stats
from api.stats.service import StatsQuery, StatsService

blueprint = Blueprint("stats", __name__, description="Answers about clicks")


@blueprint.route("/links/<id:link_id>/stats")
@blueprint.scope("stats:read")
@blueprint.takes_query(STATS_QUERY)
@blueprint.answers(200, StatsOut)
@blueprint.fails(404)
def link_stats(link_id: int, query: dict[str, Any]) -> Response:
    """Count the clicks and visitors of a link"""
    stats = service(StatsService).link_stats(principal().workspace_id, link_id, StatsQuery(**query))
    return json_response(present_stats(stats, query))


@blueprint.route("/stats")
@blueprint.scope("stats:read")
@blueprint.takes_query(STATS_QUERY)
@blueprint.answers(200, StatsOut)
def workspace_stats(query: dict[str, Any]) -> Response:
    """Count the clicks and visitors of all links of the workspace"""
    stats = service(StatsService).workspace_stats(principal().workspace_id, StatsQuery(**query))
    return json_response(present_stats(stats, query))
