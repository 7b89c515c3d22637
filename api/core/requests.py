"""What surrounds every request: its id, its log line, and the headers of every answer."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, cast

from flask import Flask, Request, Response, g, has_request_context, request

from api.core.bodies import CountedBody
from api.core.client import client_address
from api.core.metrics.requests import FOLLOW
from api.core.registry import service
from api.core.sampling import RedirectSample
from api.core.tracing.context import read_traceparent
from api.core.tracing.spans import running_trace_id
from api.core.transport import Transport
from config.logging import REQUEST_LOGGER, log_within, write_request_line
from config.settings import Settings

# Asked for its level only: `write_request_line` writes.
_levels = logging.getLogger(REQUEST_LOGGER)

# One that a client made. What looks like a credential of ours is none: everybody is told of ids.
REQUEST_ID = re.compile(r"(?!sp_|eyJ)[A-Za-z0-9._-]{8,128}")


# Told of a request, of its facts (`flask.g`) and of the status of its answer.
Meter: TypeAlias = Callable[[Request, Any, int], None]


def register_request_hooks(
    app: Flask, transport: Transport, redirect_sample: float = 0.0, meter: Meter | None = None
) -> None:
    """Give each request of `app` an id, and write one line when its answer is over; of redirects
    for the share `redirect_sample` of them. `meter` counts it."""
    log_within(_running)
    app.before_request(_begin)
    app.after_request(partial(_finish, transport, RedirectSample(redirect_sample), meter))


def request_address() -> str:
    """The address of whoever sent the running request, as far as trusted proxies tell it."""
    return client_address(
        request.remote_addr or "",
        request.headers.get("X-Forwarded-For", ""),
        service(Settings).trusted_proxies,
    )


def _running() -> dict[str, Any]:
    """What a line says of the request in which it is written."""
    if not has_request_context():
        return {}
    return {"request_id": g.get("request_id"), "trace_id": running_trace_id()}


def _begin() -> None:
    # Each use of `request` and `g` looks for the context anew: here, once for all of them.
    facts = g._get_current_object()
    given = request.headers.get("X-Request-ID")
    facts.request_id = given if given and REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
    facts.started = time.perf_counter()


def _finish(
    transport: Transport, sample: RedirectSample, meter: Meter | None, response: Response
) -> Response:
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
    if meter is not None:
        meter(asked, facts, response.status_code)
    _tell_when_over(sample, asked, facts, response)
    return response


def _tell_when_over(sample: RedirectSample, asked: Request, about: Any, response: Response) -> None:
    """Write the line of a request once its answer is made; of a stream, once that has ended."""
    level, share = logging.INFO, None
    if asked.endpoint == FOLLOW and response.status_code < 500:
        # Too frequent for a line each; its click is its record.
        level, share = (logging.INFO, sample.share) if sample.takes() else (logging.DEBUG, None)
    if not _levels.isEnabledFor(level):
        return
    facts = _facts_of(asked, about, response.status_code) | {"sample": share}

    def tell(size_bytes: int | None) -> None:
        duration_ms = round((time.perf_counter() - about.started) * 1000, 2)
        write_request_line(level, facts | {"duration_ms": duration_ms, "bytes": size_bytes})

    body = response.response
    if type(body) is list:
        tell(0 if asked.method == "HEAD" else sum(map(len, body)))
    elif response.direct_passthrough:
        tell(response.content_length)  # a file, which the server may send by itself
    else:
        response.response = CountedBody(body, tell)


def _facts_of(asked: Request, about: Any, status: int) -> dict[str, Any]:
    caller, rule, error = about.get("principal"), asked.url_rule, about.get("failure")
    cause = error.__cause__ if error is not None else None
    return {
        "method": asked.method,
        "route": rule.rule if rule else None,
        "status": status,
        "cache_level": about.get("cache_level"),
        "principal": caller.reference if caller else None,
        "workspace": caller.workspace_id if caller else about.get("workspace_id"),
        "request_id": about.request_id,
        "trace_id": trace_id_of(asked),
        "error": error and type(error).__name__,
        "cause": cause and type(cause).__name__,
    }


def trace_id_of(asked: Request) -> str | None:
    """The trace to which a request belongs: the one that runs, or the one its client names."""
    given = read_traceparent(asked.headers.get("traceparent"))
    return running_trace_id() or (f"{given.trace_id:032x}" if given else None)
