"""`/stats/orphans`."""

from __future__ import annotations

from typing import Any

from flask import Response

from api.core.answers import json_response
from api.core.http import Blueprint, principal
from api.core.registry import service
from api.orphans.schemas import ORPHANS_QUERY, OrphansOut, present_orphans
from api.orphans.service import OrphanQuery, OrphanService

blueprint = Blueprint("orphans", __name__, description="Visits that no link answered")


@blueprint.route("/stats/orphans")
@blueprint.scope("stats:read")
@blueprint.takes_query(ORPHANS_QUERY)
@blueprint.answers(200, OrphansOut)
def orphan_stats(query: dict[str, Any]) -> Response:
    """Count the visits that no link answered, by kind and host

    At the workspace's own domains, at its own links, and those that belong to nobody: at the
    default domain and at hosts that nobody has claimed, which every workspace sees. Programs are
    not told from people, and what a visitor asked for is not kept.
    """
    orphans = service(OrphanService).orphan_visits(principal().workspace_id, OrphanQuery(**query))
    return json_response(present_orphans(orphans, query))
