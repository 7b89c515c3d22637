"""CSV (RFC 4180), in UTF-8: a header, then rows; an empty cell is no value."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from api.transfers.exports.kinds import Type

if TYPE_CHECKING:
    from api.transfers.exports.formats import End

# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection"), also in the
# width of Chinese and Japanese signs.
_FORMULAS = tuple("=+-@\t\r\n＝＋－＠")
_TRAILER = "#end"


class Separated:
    """Rows as lines of cells."""

    def __init__(
        self,
        fields: Sequence[str],
        types: Sequence[Type],
        *,
        header: bool,
        escape_formulas: bool,
        trailer: bool,
    ) -> None:
        """`escape_formulas`: no cell is taken for a formula, at the price that some text has an
        apostrophe before it. `trailer`: a last line says that it is the last."""
        self._fields = fields
        self._header = header
        self._trailer = trailer
        self._to_cell = [
            (place, change)
            for place, kind in enumerate(types)
            if (change := _change_of(kind, escape_formulas)) is not None
        ]

    def begin(self) -> bytes:
        return _lines([self._fields]) if self._header else b""

    def write(self, rows: Sequence[Sequence[Any]]) -> bytes:
        width, to_cell = len(self._fields), self._to_cell
        cells = [list(row[:width]) for row in rows]
        for row in cells:
            for place, change in to_cell:
                if row[place] is not None:
                    row[place] = change(row[place])
        return _lines(cells)

    def end(self, end: End) -> bytes:
        if not self._trailer:
            return b""
        return _lines([[_TRAILER, _truth(end.complete), end.rows, end.cursor]])


def _lines(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _change_of(kind: Type, escape_formulas: bool) -> Callable[[Any], str] | None:
    """What makes a cell of a value; None where the value is one."""
    if kind is Type.TEXT:
        return _defused if escape_formulas else None
    return {
        Type.INTEGER: None,
        Type.BOOLEAN: _truth,
        Type.TIME: _time,
        Type.TEXTS: _list,
        Type.JSON: _object,
    }[kind]


def _defused(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _time(moment: Any) -> str:
    """As in JSON."""
    return orjson.dumps(moment, option=orjson.OPT_UTC_Z)[1:-1].decode()


def _list(texts: Sequence[str]) -> str:
    return orjson.dumps(texts).decode() if texts else ""


def _object(text: str) -> str:
    return "" if text == "{}" else text
