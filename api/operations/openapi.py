"""The OpenAPI 3.1 description: what the modules say of their routes, and the few others."""

from __future__ import annotations

from typing import Any

import flask_smorest
from flask import Flask

from api import __version__
from api.core.answers import JSON, PROBLEM
from api.core.paths import IdConverter
from api.core.principal import SCOPES
from api.core.schemas import Id, Problem, StrictBoolean, StrictInteger, UtcTime

_DESCRIPTION = """\
Signpost turns URLs into short links on your own domains, redirects their visitors, counts every \
click exactly once and answers questions about them.

Send an API key (`sp_live_…`) or an access token of OAuth 2 as `Authorization: Bearer`; how to get \
tokens is at `/.well-known/oauth-authorization-server`. Bodies are JSON in UTF-8, times are \
RFC 3339 in UTC, ids are strings. Errors are problem details (RFC 9457); their `type` names the \
problem, their `instance` the request. Lists are read page by page with the `next_cursor` of the \
page before.

A plan limits how often a credential may read and write, and how much a workspace may use: \
`RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers) tell what is left, and \
an answer 429 tells when to come again. What has no limit is not told of.
"""

_PROBLEMS = {
    400: "The request cannot be read",
    401: "A valid credential is needed",
    403: "The credential lacks a scope",
    404: "There is no such thing in the caller's workspace",
    409: "The request contradicts what is there",
    410: "It existed, and is gone",
    412: "`If-Match` names another version",
    413: "The body is too large",
    415: "The body is of another media type",
    422: "The request does not validate; `errors` names the fields",
    429: "Too many requests",
    500: "The server failed",
    501: "What this needs is not installed here",
    503: "Something that the answer needs is away",
}


class ProblemApi(flask_smorest.Api):  # type: ignore[misc]
    """flask-smorest's registry of routes, without its error handlers and pages."""

    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_error_handlers(self) -> None:
        """Errors are answered by `api.core.problems`."""

    def _register_doc_blueprint(self) -> None:
        """The description is served by `api.operations.docs`."""


def make_api(app: Flask) -> ProblemApi:
    """The description of `app`, to which blueprints add their routes."""
    app.config.update(
        API_TITLE="Signpost",
        API_VERSION=__version__,
        OPENAPI_VERSION="3.1.0",
        API_SPEC_OPTIONS={
            "info": {"description": _DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
            # The host that serves this: the pages are read under every address of the service.
            "servers": [{"url": "/"}],
        },
    )
    api = ProblemApi()
    api.register_converter(IdConverter, lambda converter: _ID)  # noqa: ARG005
    api.register_field(Id, "string", None)
    api.register_field(UtcTime, "string", "date-time")
    api.register_field(StrictInteger, "integer", None)
    api.register_field(StrictBoolean, "boolean", None)
    api.init_app(app)
    components = api.spec.components
    components.security_scheme(
        "bearer",
        {"type": "http", "scheme": "bearer", "description": _scopes_text()},
    )
    components.security_scheme("apiKey", {"type": "apiKey", "in": "header", "name": "X-Api-Key"})
    for status, description in _PROBLEMS.items():
        components.response(
            f"Problem{status}",
            {"description": description, "content": {PROBLEM: {"schema": Problem}}}
            | _problem_headers(status),
        )
    return api


def describe(api: ProblemApi) -> dict[str, Any]:
    """The whole description: the API's routes and the addresses that are described by hand."""
    description: dict[str, Any] = api.spec.to_dict()
    for item in description["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict) and operation.get("security"):
                _tell_limits(operation)
    description["paths"] = description["paths"] | _redirect_paths() | _health_paths()
    description["tags"] = [
        *description["tags"],
        {"name": "redirects", "description": "What visitors open"},
        {"name": "operations", "description": "Whether the service works"},
    ]
    return description


def _tell_limits(operation: dict[str, Any]) -> None:
    """Who is known is told how much their plan leaves, whatever the answer is."""
    for response in operation["responses"].values():
        if "$ref" not in response:
            response["headers"] = response.get("headers", {}) | _LIMIT_HEADERS


def _redirect_paths() -> dict[str, Any]:
    slug = {
        "in": "path",
        "name": "slug",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
        "example": "spring-sale",
    }
    failures = {str(status): _problem_or_page(status) for status in (403, 404, 410, 429, 503)}
    redirects = {str(status): _redirect() for status in (301, 302, 307, 308)}
    form = {"type": "object", "properties": {"password": {"type": "string"}}}
    follow = _operation("follow", "Follow a short link")
    follow["responses"] = redirects | {"200": _page("The form that asks for a password")} | failures
    unlock = _operation("follow_with_password", "Follow a short link that needs a password")
    unlock["requestBody"] = {"content": {"application/x-www-form-urlencoded": {"schema": form}}}
    unlock["responses"] = {"303": _redirect(), "413": _problem_or_page(413)} | failures
    return {"/{slug}": {"parameters": [slug], "get": follow, "post": unlock}}


def _health_paths() -> dict[str, Any]:
    status = {"type": "string"}
    state = {"type": "object", "properties": {"status": status}, "required": ["status"]}
    # Who sends METRICS_TOKEN is told more of each check: docs/health.md.
    check = {"type": "object", "properties": {"status": {"enum": ["up", "down", "behind"]}}}
    of_all = {"enum": ["ready", "degraded", "unready"]}
    checks = {"type": "object", "additionalProperties": check | {"required": ["status"]}}
    report = state | {"properties": {"status": of_all, "checks": checks}}
    paths = {}
    for name, summary in (
        ("live", "Say that the process answers"),
        ("ready", "Say whether requests should be sent here"),
        ("startup", "Say whether the schema is in place"),
    ):
        content = {"content": {JSON: {"schema": state if name == "live" else report}}}
        operation = _operation(name, summary, tag="operations")
        operation["responses"] = {"200": {"description": "Yes"} | content}
        if name != "live":
            operation["responses"]["503"] = {"description": "No"} | content
        paths[f"/health/{name}"] = {"get": operation}
    return paths


_ID = {"type": "string", "pattern": "^[0-9]{1,19}$"}
_LIMIT_HEADERS = {
    "RateLimit-Policy": {
        "description": "What the plan allows: quota `q` in `w` seconds, for each policy.",
        "schema": {"type": "string"},
        "example": '"reads";q=60;w=60, "calls";q=5000;w=86400',
    },
    "RateLimit": {
        "description": "What is left of it: `r` requests within the next `t` seconds.",
        "schema": {"type": "string"},
        "example": '"reads";r=59;t=42, "calls";r=4711;t=30000',
    },
}


def _scopes_text() -> str:
    lines = (f"- `{scope}`: {meaning}" for scope, meaning in SCOPES.items())
    return "An API key (`sp_live_…`) or an access token of OAuth 2. Scopes:\n\n" + "\n".join(lines)


def _operation(name: str, summary: str, tag: str = "redirects") -> dict[str, Any]:
    return {"operationId": name, "summary": summary, "tags": [tag], "security": []}


def _redirect() -> dict[str, Any]:
    location = {"description": "The target.", "schema": {"type": "string"}}
    return {"description": "To the link's target", "headers": {"Location": location}}


def _page(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/html": {"schema": {"type": "string"}}}}


def _problem_or_page(status: int) -> dict[str, Any]:
    answer = _page(_PROBLEMS[status])
    answer["content"][PROBLEM] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return answer


def _problem_headers(status: int) -> dict[str, Any]:
    name = {401: "WWW-Authenticate", 403: "WWW-Authenticate", 429: "Retry-After"}
    name |= {503: "Retry-After"}
    if status not in name:
        return {}
    return {"headers": {name[status]: {"schema": {"type": "string"}}}}
