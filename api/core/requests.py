"""What surrounds every request: its id, its log line, and the headers of every answer."""

from __future__ import annotations

import logging
import os
import re
import time

import structlog
from flask import Flask, Response, g, request

from config.logging import write_request_line

log = structlog.stdlib.get_logger("signpost.request")
# Asked for its level: structlog's own logger can tell it only where logging is configured.
_levels = logging.getLogger("signpost.request")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")
# W3C Trace Context, version 00.
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def register_request_hooks(app: Flask) -> None:
    """Give each request of `app` an id, and write one line when it is answered."""
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
    g.started = time.perf_counter()


def _finish(response: Response) -> Response:
    request_id = g.get("request_id")
    if request_id is None:  # an error before the first hook, such as an unreadable Host
        return response
    response.headers["X-Request-ID"] = request_id
    response.headers["X-Content-Type-Options"] = "nosniff"
    # A proxy may keep what says nothing, and an answer to `X-Api-Key` is one caller's own.
    response.headers.setdefault("Cache-Control", "private, no-cache")
    # A redirect is too frequent for a line each; its click is its record.
    level = logging.DEBUG if request.endpoint == "redirects.follow" else logging.INFO
    if _levels.isEnabledFor(level):
        _tell(level, response.status_code, request_id)
    return response


def _tell(level: int, status: int, request_id: str) -> None:
    caller, rule = g.get("principal"), request.url_rule
    facts = {
        "method": request.method,
        "route": rule.rule if rule else None,
        "status": status,
        "duration_ms": round((time.perf_counter() - g.started) * 1000, 2),
        "request_id": request_id,
        "trace_id": _trace_id(),
        "workspace": caller.workspace_id if caller else None,
    }
    if not write_request_line(level, facts):
        log.log(level, "request", **facts)


def _trace_id() -> str | None:
    given = request.headers.get("traceparent")
    match = _TRACEPARENT.fullmatch(given) if given else None
    return match[1] if match else None
