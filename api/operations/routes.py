"""`/health`."""

from __future__ import annotations

from flask import Blueprint, Response

from api.core.answers import json_response
from api.core.registry import service
from api.operations.health import HealthService

blueprint = Blueprint("operations", __name__, url_prefix="/health")


@blueprint.get("/live")
def live() -> Response:
    """Say that the process answers; no dependency is asked"""
    return _answer(True, {"status": "live"})


@blueprint.get("/ready")
def ready() -> Response:
    """Say whether requests should be sent here, and how each dependency is"""
    return _answer(*service(HealthService).ready())


@blueprint.get("/startup")
def startup() -> Response:
    """Say whether the schema is in place"""
    return _answer(*service(HealthService).started())


def _answer(good: bool, state: dict[str, object]) -> Response:
    headers = {"Cache-Control": "no-store"} | ({} if good else {"Retry-After": "2"})
    return json_response(state, 200 if good else 503, headers)
