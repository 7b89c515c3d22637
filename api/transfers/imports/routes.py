"""`/imports`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from flask import Response, request
from gunicorn.http.errors import ParseException
from werkzeug.wsgi import get_input_stream

from api.core.answers import json_response, to_json
from api.core.errors import Invalid, UnsupportedMediaType
from api.core.http import Blueprint, page_response, principal, still_allowed
from api.core.peer import Connection
from api.core.registry import service
from api.transfers.imports.bodies import BodyBroken
from api.transfers.imports.events import ImportEvents
from api.transfers.imports.schemas import (
    IMPORT_IN,
    IMPORT_PAGE,
    IMPORT_QUERY,
    OUTCOME_QUERY,
    ImportOut,
    present_import,
)
from api.transfers.imports.service import Asked, ImportService, Source
from config.settings import Settings

NDJSON, CSV = "application/x-ndjson", "text/csv"
EVENT_STREAM = "text/event-stream"
_FORMATS = {NDJSON: "ndjson", "application/ndjson": "ndjson", CSV: "csv"}
# Of outcomes in a piece of their stream.
_LINES = 200
_KEY = re.compile(r"[\x20-\x7e]{1,255}")

blueprint = Blueprint("imports", __name__, description="Links by the million, in")

_DESCRIPTION = """\
The body is NDJSON, an object a line with the fields of a link to create and those that a link has \
elsewhere (`created_at`, `clicks`, `last_clicked_at`), or CSV with a line of the same names; as it \
is, or packed with gzip or zstd. An export of links can be imported as it is. Rows are judged one \
by one, and one that is wrong stops no other.

It is answered when the body has come whole; a worker loads it. Where the connection breaks, the \
same `Idempotency-Key` goes on: with the body from its beginning, or with `from_row` and what is \
left of it.
"""
_EVENTS = """\
`progress` comes with the import, now and within a second of each change; `finished`, with the \
same, is the last event.
"""
_KEY_PARAMETER = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "Names the import, so that it can be gone on with.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_ROWS = {
    "content": {
        NDJSON: {"schema": {"type": "string", "contentMediaType": NDJSON}},
        CSV: {"schema": {"type": "string", "contentMediaType": CSV}},
    },
    "required": True,
}


def _imports() -> ImportService:
    return service(ImportService)


@blueprint.route("/imports", methods=["POST"])
@blueprint.scope("transfers")
@blueprint.takes_query(IMPORT_IN)
@blueprint.audited("import.create", status=202)
@blueprint.describes(description=_DESCRIPTION, parameters=[_KEY_PARAMETER], requestBody=_ROWS)
@blueprint.answers(202, ImportOut, headers=("Location",))
@blueprint.answers(200, ImportOut, headers=("Location",), description="It had come whole before")
@blueprint.fails(400, 409, 413, 415, 422, 503)
def create_import(query: dict[str, Any]) -> Response:
    """Import links from a stream of rows"""
    asked = Asked(key=_idempotency_key(), format=_format(), **query)
    row, receiver = _imports().begin(principal().workspace_id, asked)
    status = 200
    if receiver is not None:
        source = Source(
            _reader(), request.headers.get("Content-Encoding", ""), request.content_length
        )
        row = _imports().receive(row, receiver, source, from_row=asked.from_row)
        status = 202
    return json_response(present_import(row), status, {"Location": f"/api/v1/imports/{row.id}"})


@blueprint.route("/imports")
@blueprint.scope("transfers")
@blueprint.takes_query(IMPORT_QUERY)
@blueprint.answers(200, IMPORT_PAGE, headers=("Link",))
def list_imports(query: dict[str, Any]) -> Response:
    """List imports, newest first"""
    rows, cursor = _imports().list_imports(principal().workspace_id, **query)
    return page_response([present_import(row) for row in rows], cursor)


@blueprint.route("/imports/<id:import_id>")
@blueprint.scope("transfers")
@blueprint.answers(200, ImportOut)
@blueprint.fails(404)
def get_import(import_id: int) -> Response:
    """Read how far an import is"""
    return json_response(present_import(_imports().get_import(principal().workspace_id, import_id)))


@blueprint.route("/imports/<id:import_id>/outcomes")
@blueprint.scope("transfers")
@blueprint.takes_query(OUTCOME_QUERY)
@blueprint.answers(200, content_types=(NDJSON,), description="An object a row, in their order")
@blueprint.fails(404)
def stream_import_outcomes(import_id: int, query: dict[str, Any]) -> Response:
    """Stream what became of each row, as far as it is known"""
    imports = _imports()
    row = imports.get_import(principal().workspace_id, import_id)
    return Response(_lines(imports.stream_outcomes(row.id, query["outcome"])), content_type=NDJSON)


@blueprint.route("/imports/<id:import_id>/events")
@blueprint.scope("transfers")
@blueprint.describes(description=_EVENTS)
@blueprint.answers(200, content_types=(EVENT_STREAM,), description="The stream")
@blueprint.fails(404, 429)
def watch_import(import_id: int) -> Response:
    """Watch how far an import is, as server-sent events"""
    imports, workspace = _imports(), principal().workspace_id
    imports.get_import(workspace, import_id)
    stream = service(ImportEvents).watch(
        workspace,
        lambda: present_import(imports.get_import(workspace, import_id)),
        peer=Connection(request.environ.get("gunicorn.socket")),
        allowed=still_allowed(),
    )
    response = Response(stream, content_type=EVENT_STREAM)
    response.headers["Cache-Control"] = "no-store"
    # nginx would hold events back until its buffer is full.
    response.headers["X-Accel-Buffering"] = "no"
    return response


@blueprint.route("/imports/<id:import_id>", methods=["DELETE"])
@blueprint.scope("transfers")
@blueprint.audited("import.delete")
@blueprint.answers(204)
@blueprint.fails(404)
def delete_import(import_id: int) -> Response:
    """Cancel an import that is at work (what was loaded stays), or forget one that has ended"""
    _imports().end_import(principal().workspace_id, import_id)
    return Response(status=204)


def _format() -> str:
    form = _FORMATS.get(request.mimetype)
    if form is None:
        raise UnsupportedMediaType(
            f"Send {NDJSON} or {CSV}.", headers={"Accept": f"{NDJSON}, {CSV}"}
        )
    return form


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise Invalid([{"header": "Idempotency-Key", "detail": "1 to 255 printable ASCII."}])
    return key


def _reader() -> Callable[[int], bytes]:
    """Reads the body; not by way of the request, whose bound is for bodies that are held whole."""
    stream = get_input_stream(request.environ)
    seconds = service(Settings).import_idle_seconds

    def read(size_bytes: int) -> bytes:
        try:
            with gevent.Timeout(seconds, BodyBroken("The rest of the body did not come.")):
                return stream.read(size_bytes)
        except (OSError, ParseException) as error:  # gunicorn's, in the middle of a chunk
            raise BodyBroken("The connection ended in the middle of the body.") from error

    return read


def _lines(outcomes: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Outcomes as NDJSON, some at a time."""
    lines: list[bytes] = []
    for outcome in outcomes:
        lines.append(to_json(outcome))
        if len(lines) == _LINES:
            yield b"\n".join((*lines, b""))
            lines.clear()
    yield b"\n".join((*lines, b"")) if lines else b""
