"""Bodies of answers: JSON, and the media types that it goes by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response

JSON = "application/json"
PROBLEM = "application/problem+json"


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`content` as JSON; datetimes in UTC with a `Z`."""
    return Response(to_json(content), status, headers, content_type=JSON)


def to_json(content: Any) -> bytes:
    """`content` as JSON bytes; datetimes in UTC with a `Z`."""
    return orjson.dumps(content, option=orjson.OPT_UTC_Z)
