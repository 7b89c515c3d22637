"""What a report tells of the running request, and what the client sent that it must not tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from flask import Request, g, has_request_context, request

from api.core.reports.facts import RequestFacts
from api.core.requests import trace_id_of

# Shorter texts are found anywhere.
_SHORTEST = 4
_CREDENTIALS = ("Authorization", "X-Api-Key", "Cookie", "X-Forwarded-For")


def running_request() -> RequestFacts | None:
    """Of the request in whose context we are."""
    if not has_request_context():
        return None
    asked = request._get_current_object()  # type: ignore[attr-defined]
    rule, caller = asked.url_rule, g.get("principal")
    return RequestFacts(
        route=rule.rule if rule else None,
        trace_id=trace_id_of(asked),
        tags={
            "method": asked.method,
            "request_id": g.get("request_id"),
            "workspace": str(caller.workspace_id) if caller else None,
        },
        sent=frozenset(text for text in _sent(asked) if len(text) >= _SHORTEST),
    )


def _sent(asked: Request) -> Iterator[str]:
    """Only what was read so far: to read more could mean to wait for the client."""
    for name in _CREDENTIALS:
        if value := asked.headers.get(name):
            yield value
            yield value.rpartition(" ")[2]
    yield asked.remote_addr or ""
    yield asked.query_string.decode("latin-1")
    yield from asked.args.values()
    yield from asked.cookies.values()
    known = vars(asked)
    yield from (value for value in (asked.view_args or {}).values() if isinstance(value, str))
    if "form" in known:
        yield from asked.form.values()
    if (body := known.get("_cached_data")) and asked.is_json:
        try:
            yield from _leaves(orjson.loads(body))
        except orjson.JSONDecodeError:
            yield body.decode(errors="replace")


def _leaves(document: Any) -> Iterator[str]:
    """Every text of a JSON document."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, list):
        for item in document:
            yield from _leaves(item)
    elif isinstance(document, dict):
        yield from _leaves(list(document.values()))
