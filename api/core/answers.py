"""Bodies of answers: JSON, and the media types that it goes by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import orjson
from flask import Response
from werkzeug.datastructures import Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

JSON = "application/json"
PROBLEM = "application/problem+json"


class JsonResponse(Response):
    """An answer whose headers are complete: its length is known, and its addresses are ASCII.

    The one place where Werkzeug's own ways are gone round: in making a response it looks for
    charsets, ranges and iterables, and in sending it for addresses to correct, which costs as much
    as shaping a list of ten.
    """

    def __init__(
        self, body: bytes, status: int, headers: Mapping[str, str], content_type: str
    ) -> None:
        self.headers = Headers(
            [
                *headers.items(),
                ("Content-Type", content_type),
                ("Content-Length", str(len(body))),
            ]
        )
        self._status_code = status
        self._status = _status_line(status)
        self.response = [body]
        self.direct_passthrough = False
        self._on_close = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer."""
        if environ["REQUEST_METHOD"] == "HEAD" or self._on_close:
            return super().__call__(environ, start_response)
        start_response(self._status, list(self.headers))
        return cast(Iterable[bytes], self.response)


@cache
def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase.upper()}"


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`content` as JSON; datetimes in UTC with a `Z`."""
    return JsonResponse(to_json(content), status, headers or {}, JSON)


def to_json(content: Any) -> bytes:
    """`content` as JSON bytes; datetimes in UTC with a `Z`."""
    return orjson.dumps(content, option=orjson.OPT_UTC_Z)
