"""Every error becomes problem JSON (RFC 9457) here, and tells only what a client may know."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed

from api.core.answers import PROBLEM, to_json
from api.core.errors import PROBLEM_TYPE, DomainError

log = logging.getLogger(__name__)

# Those that differ from one Python version to the next, or from our own errors of the same type.
_TITLES = {404: "Not found", 413: "Content too large"}


def problem_response(
    status: int,
    code: str,
    title: str,
    detail: str = "",
    headers: dict[str, str] | None = None,
    **extra: Any,
) -> Response:
    """One problem; `code` makes its `type`, by which programs tell problems apart."""
    return Response(
        to_json(problem(status, code, title, detail, **extra)),
        status,
        headers,
        content_type=PROBLEM,
    )


def problem(status: int, code: str, title: str, detail: str = "", **extra: Any) -> dict[str, Any]:
    """The members of a problem; `instance` is the request id."""
    body: dict[str, Any] = {"type": PROBLEM_TYPE + code, "title": title}
    body["status"] = status
    if detail:
        body["detail"] = detail
    body["instance"] = f"urn:request:{g.get('request_id', 'none')}"
    return body | extra


def problem_of(error: DomainError) -> dict[str, Any]:
    """The problem that a domain error stands for."""
    return problem(error.status, error.code, error.title, error.detail, **error.extra)


def response_of(error: DomainError) -> Response:
    """The answer that a domain error stands for, its headers included."""
    note_failure(error, error.status)
    return problem_response(
        error.status, error.code, error.title, error.detail, error.headers, **error.extra
    )


def note_failure(error: Exception, status: int) -> None:
    """Keep what failed a request on our side, for its line in the log."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        g.failure = error


def plain_problem(status: int) -> dict[str, Any]:
    """A problem of which only the status is told, outside of any request."""
    title = _title_of(status)
    return {"type": PROBLEM_TYPE + _code_of(title), "title": title, "status": status}


def _title_of(status: int) -> str:
    """What a status is called where nothing more is to be said."""
    return _TITLES.get(status, HTTPStatus(status).phrase)


def _code_of(title: str) -> str:
    return title.lower().replace(" ", "-")


def register_problems(app: Flask) -> None:
    """Answer all errors of `app` with problems."""
    app.register_error_handler(DomainError, response_of)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(ParseException, _from_body)
    app.register_error_handler(Exception, _from_unexpected)


def _from_http(error: HTTPException) -> Response:
    if isinstance(error.response, Response):  # a redirect that werkzeug itself asks for
        return error.response
    status = error.code or 500
    note_failure(error, status)
    title = _title_of(status)
    headers = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return problem_response(status, _code_of(title), title, headers=headers)


def _from_body(error: Exception) -> Response:
    """A body whose chunks are none, as the server's parser finds out when it is read."""
    log.info("unreadable body: %s", error)
    return _from_http(BadRequest())


def _from_unexpected(error: Exception) -> Response:
    note_failure(error, HTTPStatus.INTERNAL_SERVER_ERROR)
    log.error("unexpected error", exc_info=error)
    return problem_response(
        500,
        "internal-error",
        "Internal error",
        "The request failed; its id names it in the server's log.",
    )
