"""`/blocked-targets`."""

from __future__ import annotations

from typing import Any

from flask import Response

from api.core.answers import json_response
from api.core.http import Blueprint, page_response, principal
from api.core.registry import service
from api.targets.rules import Block, Rule
from api.targets.schemas import (
    BLOCKED_TARGET_IN,
    BLOCKED_TARGET_PAGE,
    PAGE_QUERY,
    BlockedTargetOut,
    present_rule,
)
from api.targets.service import BlockedTargets

blueprint = Blueprint("targets", __name__, description="Where links of the workspace may not lead")


def _blocked() -> BlockedTargets:
    return service(BlockedTargets)


@blueprint.route("/blocked-targets", methods=["POST"])
@blueprint.scope("workspace:admin")
@blueprint.takes_body(BLOCKED_TARGET_IN)
@blueprint.audited("blocked_target.create", tell=("kind", "value", "status", "reason"))
@blueprint.answers(201, BlockedTargetOut, headers=("Location",))
@blueprint.fails(409)
def block_target(body: dict[str, Any]) -> Response:
    """Block a host or a pattern of addresses; links that lead there stop within seconds"""
    rule = Rule.of(body["kind"], body["value"], Block(body["status"], body["reason"]))
    row = _blocked().add(principal().workspace_id, rule)
    return json_response(present_rule(row), 201, {"Location": f"/api/v1/blocked-targets/{row.id}"})


@blueprint.route("/blocked-targets")
@blueprint.scope("workspace:admin")
@blueprint.takes_query(PAGE_QUERY)
@blueprint.answers(200, BLOCKED_TARGET_PAGE, headers=("Link",))
def list_blocked_targets(query: dict[str, Any]) -> Response:
    """List the workspace's block rules, newest first"""
    rows, cursor = _blocked().list_rules(principal().workspace_id, **query)
    return page_response([present_rule(row) for row in rows], cursor)


@blueprint.route("/blocked-targets/<id:blocked_target_id>")
@blueprint.scope("workspace:admin")
@blueprint.answers(200, BlockedTargetOut)
@blueprint.fails(404)
def get_blocked_target(blocked_target_id: int) -> Response:
    """Read one block rule"""
    return json_response(
        present_rule(_blocked().get_rule(principal().workspace_id, blocked_target_id))
    )


@blueprint.route("/blocked-targets/<id:blocked_target_id>", methods=["DELETE"])
@blueprint.scope("workspace:admin")
@blueprint.audited("blocked_target.delete")
@blueprint.answers(204)
@blueprint.fails(404)
def unblock_target(blocked_target_id: int) -> Response:
    """Remove a block rule; links that it stopped go on"""
    _blocked().remove(principal().workspace_id, blocked_target_id)
    return Response(status=204)
