"""Reading documents through schemas, without what marshmallow does again for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import marshmallow as ma

from api.core.errors import Invalid


class Loader:
    """Loads what one schema describes.

    A document that is right needs nothing but its fields' own rules; whatever is not plain is
    given to the schema itself, and so are its messages.
    """

    def __init__(self, schema: ma.Schema) -> None:
        self._schema = schema
        self._fields = {}
        self._defaults = []
        self._required = set()
        for name, field in schema.load_fields.items():
            key = field.attribute or name
            self._fields[field.data_key or name] = (key, field.deserialize)
            if field.required:
                self._required.add(key)
            elif field.load_default is not ma.missing:
                self._defaults.append((key, field.load_default))
        # Rules of the schema as a whole are run by the schema alone.
        whole = any(schema._hooks.values()) or schema.unknown != ma.RAISE or schema.partial
        self._plain = not (whole or schema.many)

    def load(self, document: Any) -> dict[str, Any]:
        """The values of a document.

        Raises:
            marshmallow.ValidationError: it is not what the schema describes.
        """
        values = self._load_plain(document) if self._plain and type(document) is dict else None
        if values is None:
            return cast(dict[str, Any], self._schema.load(document))
        return values

    def _load_plain(self, document: dict[str, Any]) -> dict[str, Any] | None:
        values: dict[str, Any] = {}
        try:
            for name, value in document.items():
                key, deserialize = self._fields[name]
                values[key] = deserialize(value, name, document)
        except (KeyError, ma.ValidationError):
            return None
        if not self._required <= values.keys():
            return None
        for key, default in self._defaults:
            if key not in values:
                values[key] = default() if callable(default) else default
        return values


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


def refuse_nul(document: Any) -> None:
    """Raises `Invalid` where a text of a document holds U+0000, naming the place."""
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
