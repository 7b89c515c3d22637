"""`/health` and `/metrics`."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from api.core.answers import json_response
from api.core.registry import service
from api.operations.health import HealthService
from api.operations.metrics import MetricsService
from api.operations.serving import MEDIA_TYPE

blueprint = Blueprint("operations", __name__)


@blueprint.get("/health/live")
def live() -> Response:
    """Say that the process answers; no dependency is asked"""
    return _answer(True, {"status": "live"})


@blueprint.get("/health/ready")
def ready() -> Response:
    """Say whether requests should be sent here, and how each dependency is"""
    return _report(*service(HealthService).ready())


@blueprint.get("/health/startup")
def startup() -> Response:
    """Say whether the schema is in place"""
    return _report(*service(HealthService).started())


@blueprint.get("/metrics")
def metrics() -> Response:
    """Tell Prometheus, which knows METRICS_TOKEN, what the processes of this host count"""
    service(MetricsService).check(_token())
    return Response(
        service(MetricsService).write(),
        headers={"Cache-Control": "no-store"},
        content_type=MEDIA_TYPE,
    )


def _report(good: bool, state: dict[str, Any]) -> Response:
    """Everybody may know what is up; why something is not, those who know METRICS_TOKEN."""
    if not service(MetricsService).knows(_token()):
        states = state["checks"].items()
        state = state | {"checks": {name: {"status": each["status"]} for name, each in states}}
    return _answer(good, state)


def _token() -> str | None:
    given = request.authorization
    return given.token if given is not None and given.type == "bearer" else None


def _answer(good: bool, state: dict[str, Any]) -> Response:
    headers = {"Cache-Control": "no-store"} | ({} if good else {"Retry-After": "2"})
    return json_response(state, 200 if good else 503, headers)
