"""Bodies of answers: JSON, and the media types that it goes by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import orjson
from flask import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

JSON = "application/json"
PROBLEM = "application/problem+json"
_EMPTY = (204, 304)


class JsonResponse(Response):
    """An answer whose headers are complete: its length is known, and its addresses are ASCII."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer. Werkzeug would copy the headers to look for what is to be corrected."""
        if environ["REQUEST_METHOD"] == "HEAD" or self._on_close or self._status_code in _EMPTY:
            return super().__call__(environ, start_response)
        start_response(self._status, list(self.headers))
        return cast(Iterable[bytes], self.response)


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`content` as JSON; datetimes in UTC with a `Z`."""
    return JsonResponse(to_json(content), status, headers, content_type=JSON)


def to_json(content: Any) -> bytes:
    """`content` as JSON bytes; datetimes in UTC with a `Z`."""
    return orjson.dumps(content, option=orjson.OPT_UTC_Z)
