"""`/links/{id}/stats` and `/stats`."""

from __future__ import annotations

from typing import Any

from flask import Response

from api.core.answers import to_json
from api.core.cache import answer_response
from api.core.http import Blueprint, principal
from api.core.registry import service
from api.links.service import LinkService
from api.stats.cached import StatsCache
from api.stats.schemas import STATS_QUERY, WORKSPACE_STATS_QUERY, StatsOut, present_stats
from api.stats.service import StatsQuery, StatsService

blueprint = Blueprint("stats", __name__, description="Answers about clicks")


@blueprint.route("/links/<id:link_id>/stats")
@blueprint.scope("stats:read")
@blueprint.takes_query(STATS_QUERY)
@blueprint.answers(200, StatsOut, headers=("ETag", "Cache-Control"))
@blueprint.answers(304, description="`If-None-Match` names the current answer")
@blueprint.fails(404)
def link_stats(link_id: int, query: dict[str, Any]) -> Response:
    """Count the clicks and visitors of a link"""
    workspace = principal().workspace_id
    # Whatever is kept: the link may be deleted since.
    service(LinkService).require(workspace, link_id)

    def compute(asked: dict[str, Any]) -> bytes:
        stats = service(StatsService).link_stats(workspace, link_id, StatsQuery(**asked))
        return to_json(present_stats(stats, asked))

    return answer_response(service(StatsCache).answer(workspace, f"link:{link_id}", query, compute))


@blueprint.route("/stats")
@blueprint.scope("stats:read")
@blueprint.takes_query(WORKSPACE_STATS_QUERY)
@blueprint.answers(200, StatsOut, headers=("ETag", "Cache-Control"))
@blueprint.answers(304, description="`If-None-Match` names the current answer")
def workspace_stats(query: dict[str, Any]) -> Response:
    """Count the clicks and visitors of the workspace's links, of all or by domain or tag"""
    workspace = principal().workspace_id

    def compute(asked: dict[str, Any]) -> bytes:
        stats = service(StatsService).workspace_stats(workspace, StatsQuery(**asked))
        return to_json(present_stats(stats, asked))

    return answer_response(service(StatsCache).answer(workspace, "workspace", query, compute))
