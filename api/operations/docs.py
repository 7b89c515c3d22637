"""`/api/v1/openapi.json`, and `/docs`: the same for people, with nothing loaded from elsewhere."""

from __future__ import annotations

from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, abort, current_app, redirect, render_template, request
from flask import send_from_directory as send_file
from werkzeug.wrappers import Response as AnyResponse

from api.core.answers import JSON, to_json
from api.operations.openapi import describe

blueprint = Blueprint("docs", __name__, template_folder="templates")

_SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
_ASSETS = frozenset({"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"})
# Swagger UI writes style attributes and shows its own images as data.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@blueprint.get("/api/v1/openapi.json")
def openapi() -> AnyResponse:
    """The OpenAPI 3.1 description"""
    response = Response(_description(), content_type=JSON)
    response.add_etag()
    return response.make_conditional(request)


@blueprint.get("/docs")
def docs() -> Response:
    """The description, for people"""
    response = Response(
        render_template("operations/docs.html"), content_type="text/html; charset=utf-8"
    )
    response.headers["Content-Security-Policy"] = _CSP
    return response


@blueprint.get("/docs/")
def docs_with_slash() -> AnyResponse:
    """The same page under the address that people also type"""
    return redirect("/docs", 308)


@blueprint.get("/docs/assets/<name>")
def asset(name: str) -> Response:
    """A file that the page loads"""
    if name == "docs.js":
        return send_file(Path(__file__).parent / "static", name, max_age=3600)
    if name not in _ASSETS:
        abort(404)
    return send_file(_SWAGGER_UI, name, max_age=86400)


def _description() -> bytes:
    """Made once per process: it changes only with the code."""
    made: bytes | None = current_app.extensions.get("signpost.openapi_json")
    if made is None:
        made = to_json(describe(current_app.extensions["signpost.openapi"]))
        current_app.extensions["signpost.openapi_json"] = made
    return made
