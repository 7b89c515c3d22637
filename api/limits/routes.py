"""`/usage`."""

from __future__ import annotations

from flask import Response

from api.core.answers import json_response
from api.core.http import Blueprint, principal
from api.core.registry import service
from api.limits.schemas import UsageOut, present_usage
from api.limits.service import LimitService

blueprint = Blueprint("limits", __name__, description="What the plan of a workspace allows")


@blueprint.route("/usage")
@blueprint.scope("links:read")
@blueprint.answers(200, UsageOut)
def get_usage() -> Response:
    """Read the plan of the workspace, its limits, and what was used of them"""
    return json_response(present_usage(*service(LimitService).get_usage(principal())))
