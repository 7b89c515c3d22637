"""`/exports`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Response, request

from api.clicks.service import ClickFilter
from api.core.errors import Invalid
from api.core.http import Blueprint, principal, still_allowed
from api.core.peer import Connection
from api.core.registry import service
from api.links.service import LinkFilter
from api.transfers.exports.encodings import choose_encoding
from api.transfers.exports.formats import CONTENT_TYPES, CSV, NDJSON, PARQUET, Style
from api.transfers.exports.schemas import CLICK_EXPORT_IN, LINK_EXPORT_IN
from api.transfers.exports.service import Asked, ExportService
from api.transfers.exports.stream import ExportStream

blueprint = Blueprint("exports", __name__, description="All links or clicks, streamed")

_CHARSETS = {CSV: "; charset=utf-8"}
_DESCRIPTION = """\
A stream of all that the filters name, however much it is, in an order that never changes. It is \
made no faster than you read; who takes nothing for a while is cut off. \
`Accept-Encoding: zstd` or `gzip` packs it.

The last line of NDJSON is `{"end": {"complete": true, "rows": N, "cursor": null}}`. Where an \
export stops on the way, `complete` is false and `cursor` is where to go on; and the answer lacks \
its end (the last chunk of HTTP), so that any client sees an error. What was cut off goes on \
`after` the last row that was received, or with that cursor.
"""


@blueprint.route("/exports/links")
@blueprint.scope("transfers")
@blueprint.takes_query(LINK_EXPORT_IN)
@blueprint.describes(description=_DESCRIPTION)
@blueprint.answers(200, content_types=tuple(CONTENT_TYPES.values()), description="The stream")
@blueprint.fails(429, 501, 503)
def export_links(query: dict[str, Any]) -> Response:
    """Export links, in the order of their creation"""
    asked = _asked(query)
    stream = service(ExportService).export_links(
        principal().workspace_id, LinkFilter(**query), asked
    )
    return _answer(stream, asked)


@blueprint.route("/exports/clicks")
@blueprint.scope("transfers")
@blueprint.takes_query(CLICK_EXPORT_IN)
@blueprint.describes(description=_DESCRIPTION)
@blueprint.answers(200, content_types=tuple(CONTENT_TYPES.values()), description="The stream")
@blueprint.fails(404, 429, 501, 503)
def export_clicks(query: dict[str, Any]) -> Response:
    """Export clicks, also of deleted links, link by link"""
    asked = _asked(query)
    stream = service(ExportService).export_clicks(
        principal().workspace_id, ClickFilter(**query), asked
    )
    return _answer(stream, asked)


def _asked(query: dict[str, Any]) -> Asked:
    """What is not a filter, taken out of the query."""
    if query["cursor"] is not None and query["after"] is not None:
        raise Invalid.parameter("after", "Either `after` or `cursor`.")
    style = Style(
        format=query.pop("format") or _accepted_format(),
        escape_formulas=query.pop("escape_formulas"),
        trailer=query.pop("trailer"),
    )
    # Parquet packs its columns by itself.
    packs = style.format != PARQUET
    return Asked(
        fields=query.pop("fields_"),
        style=style,
        encoding=choose_encoding(request.accept_encodings.quality) if packs else "identity",
        cursor=query.pop("cursor"),
        after=query.pop("after"),
        peer=Connection(
            request.environ.get("gunicorn.socket"),
            chunked=request.environ.get("SERVER_PROTOCOL") != "HTTP/1.0",
        ),
        allowed=still_allowed(),
    )


def _accepted_format() -> str:
    best = request.accept_mimetypes.best_match(tuple(CONTENT_TYPES.values()))
    return next((name for name, kind in CONTENT_TYPES.items() if kind == best), NDJSON)


def _answer(stream: ExportStream, asked: Asked) -> Response:
    kind = asked.style.format
    response = Response(stream, content_type=CONTENT_TYPES[kind] + _CHARSETS.get(kind, ""))
    name = f"{stream.name}-{datetime.now(UTC):%Y-%m-%d}.{kind}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept, Accept-Encoding, Authorization"
    # nginx would take it as fast as it is made, and keep what its client does not take on a disk.
    response.headers["X-Accel-Buffering"] = "no"
    if asked.encoding != "identity":
        response.headers["Content-Encoding"] = asked.encoding
    return response
