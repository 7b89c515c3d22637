"""Reading documents through schemas, without what marshmallow does again for each of them."""

from __future__ import annotations

from typing import Any, cast

import marshmallow as ma


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
