"""NDJSON: one object a line, as lists have them, and a last line that says that it is the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from api.transfers.exports.kinds import Type

if TYPE_CHECKING:
    from api.transfers.exports.formats import End

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE


class Lines:
    """Rows as objects."""

    def __init__(self, fields: Sequence[str], types: Sequence[Type]) -> None:
        self._fields = tuple(fields)
        self._objects = [
            name for name, kind in zip(fields, types, strict=True) if kind is Type.JSON
        ]

    def begin(self) -> bytes:
        return b""

    def write(self, rows: Sequence[Sequence[Any]]) -> bytes:
        fields, objects = self._fields, self._objects
        lines = []
        for row in rows:
            shown = dict(zip(fields, row))  # noqa: B905 - there may be more in a row
            for name in objects:
                shown[name] = orjson.Fragment(shown[name])
            lines.append(orjson.dumps(shown, option=_OPTIONS))
        return b"".join(lines)

    def end(self, end: End) -> bytes:
        said = {"complete": end.complete, "rows": end.rows, "cursor": end.cursor}
        return orjson.dumps({"end": said}, option=_OPTIONS)
