"""What surrounds every request: its id, its log line, and the headers of every answer."""

from __future__ import annotations

import logging
import os
import re
import time
from functools import partial
from typing import Any, cast

import structlog
from flask import Flask, Request, Response, g, request

from api.core.client import client_address
from api.core.registry import service
from api.core.tracing.context import read_traceparent
from api.core.tracing.spans import running_trace_id
from api.core.transport import Transport
from config.logging import write_request_line
from config.settings import Settings

log = structlog.stdlib.get_logger("signpost.request")
# Asked for its level: structlog's own logger can tell it only where logging is configured.
_levels = logging.getLogger("signpost.request")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")


def register_request_hooks(app: Flask, transport: Transport) -> None:
    """Give each request of `app` an id, and write one line when it is answered."""
    app.before_request(_begin)
    app.after_request(partial(_finish, transport))


def request_address() -> str:
    """The address of whoever sent the running request, as far as trusted proxies tell it."""
    return client_address(
        request.remote_addr or "",
        request.headers.get("X-Forwarded-For", ""),
        service(Settings).trusted_proxies,
    )


def _begin() -> None:
    # Each use of `request` and `g` looks for the context anew: here, once for all of them.
    facts = g._get_current_object()
    given = request.headers.get("X-Request-ID")
    facts.request_id = given if given and REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
    facts.started = time.perf_counter()


def _finish(transport: Transport, response: Response) -> Response:
    asked = cast(Any, request)._get_current_object()
    transport.add_headers(response, asked.scheme)
    facts = g._get_current_object()
    request_id = facts.get("request_id")
    if request_id is None:  # an error before the first hook, such as an unreadable Host
        return response
    headers = response.headers
    headers.add("X-Request-ID", request_id)
    if "Cache-Control" not in headers:
        # A proxy may keep what says nothing, and an answer to `X-Api-Key` is one caller's own.
        headers.add("Cache-Control", "private, no-cache")
    # A redirect is too frequent for a line each; its click is its record.
    level = logging.DEBUG if asked.endpoint == "redirects.follow" else logging.INFO
    if _levels.isEnabledFor(level):
        _tell(level, asked, facts, response.status_code)
    return response


def _tell(level: int, asked: Request, about: Any, status: int) -> None:
    caller, rule = about.get("principal"), asked.url_rule
    facts = {
        "method": asked.method,
        "route": rule.rule if rule else None,
        "status": status,
        "duration_ms": round((time.perf_counter() - about.started) * 1000, 2),
        "request_id": about.request_id,
        "trace_id": trace_id_of(asked),
        "workspace": caller.workspace_id if caller else None,
    }
    if not write_request_line(level, facts):
        log.log(level, "request", **facts)


def trace_id_of(asked: Request) -> str | None:
    """The trace to which a request belongs: the one that runs, or the one its client names."""
    given = read_traceparent(asked.headers.get("traceparent"))
    return running_trace_id() or (f"{given.trace_id:032x}" if given else None)
