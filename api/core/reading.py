"""Reads bodies and queries of requests, and says what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import marshmallow as ma
import orjson
from flask import request

from api.core.answers import JSON
from api.core.errors import BadRequest, DomainError, Invalid
from api.core.loading import Loader


class UnsupportedMediaType(DomainError):
    """The body is not of a type that the route reads."""

    status = 415
    code = "unsupported-media-type"
    title = "Unsupported media type"


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
        _refuse_nul(document)
    return document


def load(
    loader: Loader,
    document: Any,
    describe: Callable[[Any], list[dict[str, str]]] | None = None,
) -> dict[str, Any]:
    """`document` as its schema says; unknown fields are refused.

    Raises:
        Invalid: with one error per field, each named by its JSON pointer (RFC 6901).
    """
    try:
        return loader.load(document)
    except ma.ValidationError as error:
        raise Invalid((describe or _pointer_errors)(error.messages)) from None


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


def _pointer_errors(messages: Any) -> list[dict[str, str]]:
    return [{"pointer": pointer, "detail": detail} for pointer, detail in _flat(messages, "")]


def parameter_errors(messages: Any) -> list[dict[str, str]]:
    """Marshmallow's messages as errors that name parameters of the query."""
    return [
        {"parameter": pointer.split("/")[1] if pointer else "", "detail": detail}
        for pointer, detail in _flat(messages, "")
    ]


def _flat(messages: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Marshmallow's nested messages as pairs of JSON pointer and text."""
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            # "_schema" is the object itself; below a member of a dictionary field, "key" and
            # "value" are marshmallow's own level.
            if name == "_schema" or (name in ("key", "value") and pointer.count("/") > 1):
                yield from _flat(inner, pointer)
            else:
                token = str(name).replace("~", "~0").replace("/", "~1")
                yield from _flat(inner, f"{pointer}/{token}")
    elif isinstance(messages, list):
        for inner in messages:
            yield from _flat(inner, pointer)
    else:
        yield pointer, str(messages)


def _refuse_nul(document: Any) -> None:
    waiting = [("", document)]
    while waiting:
        pointer, value = waiting.pop()
        if isinstance(value, str) and "\0" in value:
            raise Invalid.field(pointer, "Must not contain U+0000.")
        if isinstance(value, dict):
            if any("\0" in name for name in value):
                raise Invalid.field(pointer, "Names must not contain U+0000.")
            waiting += [(f"{pointer}/{name}", inner) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{pointer}/{index}", inner) for index, inner in enumerate(value)]
