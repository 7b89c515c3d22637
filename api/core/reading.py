"""Reads bodies and queries of requests, and says what is wrong with them."""

from __future__ import annotations

from typing import Any

import orjson
from flask import request

from api.core.answers import JSON
from api.core.errors import BadRequest, Invalid, UnsupportedMediaType
from api.core.loading import refuse_nul


def read_json(media_types: tuple[str, ...] = (JSON,)) -> Any:
    """The parsed body.

    Raises:
        UnsupportedMediaType: its `Content-Type` is not one of `media_types`.
        BadRequest: it is not JSON.
        Invalid: a string holds U+0000, which PostgreSQL cannot store.
    """
    if request.mimetype not in (*media_types, JSON):
        accepted = ", ".join(media_types)
        raise UnsupportedMediaType(f"Send {accepted}.", headers={"Accept": accepted})
    raw = request.get_data(cache=True)
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error.msg} at byte {error.pos}.") from None
    if b"\\u0000" in raw:
        refuse_nul(document)
    return document


def read_query() -> dict[str, Any]:
    """The query parameters.

    Raises:
        Invalid: one is there twice, or holds U+0000.
    """
    values: dict[str, Any] = {}
    for name, all_values in request.args.lists():
        if len(all_values) > 1:
            raise Invalid.parameter(name, "Given more than once.")
        if "\0" in all_values[0] or "\0" in name:
            raise Invalid.parameter(name.replace("\0", ""), "Must not contain U+0000.")
        values[name] = all_values[0]
    return values
