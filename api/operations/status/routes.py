"""`/status`: the last hour, for people and for scripts."""

from __future__ import annotations

import secrets

from flask import Blueprint, Response, render_template, request

from api.core.answers import JSON, json_response
from api.core.registry import service
from api.core.requests import request_address
from api.operations.status import words
from api.operations.status.access import StatusAccess
from api.operations.status.findings import HEADLINES
from api.operations.status.presenting import status_out, table_of
from api.operations.status.service import Status, StatusService
from api.operations.status.strips import draw_strip

blueprint = Blueprint("status", __name__, template_folder="templates")

_HEADERS = {"Cache-Control": "private, no-store", "Vary": "Accept"}
# Rarely enough to be read in peace, often enough to be left open on a wall.
_REFRESH_SECONDS = 30


@blueprint.get("/status")
def status() -> Response:
    """Show how the installation is, and how its last hour was"""
    everything = service(StatusAccess).check(request.authorization, request_address())
    found = service(StatusService).look()
    # Browsers ask for HTML; programs, which take anything, get what programs read.
    if request.accept_mimetypes.best_match([JSON, "text/html"]) == "text/html":
        return _page(found, everything)
    return json_response(status_out(found, everything=everything), headers=_HEADERS)


def _page(found: Status, everything: bool) -> Response:
    nonce = secrets.token_urlsafe(16)
    html = render_template(
        "status/page.html",
        nonce=nonce,
        refresh=_REFRESH_SECONDS,
        everything=everything,
        status=found,
        headline=HEADLINES[found.state],
        clock=words.clock,
        seconds=words.seconds,
        strip=draw_strip,
        pictures=zip(found.panels, found.drawn, strict=True),
        table=table_of(found.hour),
    )
    response = Response(html, headers=_HEADERS, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    return response
