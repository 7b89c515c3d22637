"""From the pieces of a body to rows: NDJSON and CSV, line by line, each of bounded length."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from api.core.errors import BadRequest, Invalid
from api.core.loading import refuse_nul
from api.transfers.imports.bodies import ContentTooLarge

# A link's fields, each as long as it may be and all of it escaped.
MAX_LINE_BYTES = 1 << 18
# What the format of exports calls its own end.
_END = "end"
_END_CELL = "#end"
_BOM = b"\xef\xbb\xbf"
_NUMBERS = ("max_clicks", "redirect_status", "clicks")
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_BOOLEANS = {"true": True, "false": False}


class RawRow(NamedTuple):
    """A row as it came: its line, what the running digest is told of it, and its content."""

    line: int
    content: bytes
    cells: Sequence[str] | None = None  # of CSV


def lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a body, without their ends.

    Raises:
        ContentTooLarge: one is longer than a row can be.
    """
    rest, first = b"", True
    for piece in pieces:
        if first and (rest or piece):
            piece, first = (rest + piece).removeprefix(_BOM), False  # noqa: PLW2901
        *whole, rest = (rest + piece).split(b"\n") if rest else piece.split(b"\n")
        yield from whole
        if len(rest) > MAX_LINE_BYTES:
            raise ContentTooLarge(f"A line has at most {MAX_LINE_BYTES:,} bytes.")
    if rest:
        yield rest


class Ndjson:
    """Rows of NDJSON: an object a line; empty lines are none."""

    header: list[str] | None = None

    def __init__(self, lines: Iterable[bytes], line: int = 0) -> None:
        """`line` is how many came before."""
        self._lines = lines
        self.line = line

    def __iter__(self) -> Iterator[RawRow]:
        for content in self._lines:
            self.line += 1
            if content and not content.isspace():
                yield RawRow(self.line, content)

    def document(self, row: RawRow) -> Any:
        """What a row says; None for the end of an export.

        Raises:
            DomainError: it is not JSON, or nothing that PostgreSQL could keep.
        """
        if len(row.content) > MAX_LINE_BYTES:
            raise BadRequest(f"Longer than {MAX_LINE_BYTES:,} bytes.")
        try:
            document = orjson.loads(row.content)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"Not JSON: {error.msg} at byte {error.pos}.") from None
        if b"\\u0000" in row.content:
            refuse_nul(document)
        if type(document) is dict and len(document) == 1 and isinstance(document.get(_END), dict):
            return None
        return document


class Csv:
    """Rows of CSV (RFC 4180), below a line of names."""

    def __init__(
        self,
        lines: Iterable[bytes],
        names: frozenset[str],
        line: int = 0,
    ) -> None:
        """`names` are those that a column may have; `line` is how many lines came before, the
        header not counted again.

        Raises:
            Invalid: the line of names is none.
        """
        self.line = max(line - 1, 0)
        self._left = MAX_LINE_BYTES
        self._reader = csv.reader(self._texts(lines), strict=True)
        header = next(self._cells(), None)
        self.header = [name.strip() for name in header or ()]
        _check_header(self.header, names)

    def __iter__(self) -> Iterator[RawRow]:
        for cells in self._cells():
            content = "\x1f".join(cells).encode("utf-8", "surrogateescape")
            yield RawRow(self.line, content, cells)

    def _cells(self) -> Iterator[list[str]]:
        while True:
            self._left = MAX_LINE_BYTES
            try:
                cells = next(self._reader, None)
            except csv.Error as error:
                # Quotes that are wrong in one place are wrong for all that follows.
                raise BadRequest(f"Line {self.line} is not CSV: {error}.") from None
            if cells is None:
                return
            if cells:
                yield cells

    def _texts(self, lines: Iterable[bytes]) -> Iterator[str]:
        for line in lines:
            self.line += 1
            self._left -= len(line) + 1
            if self._left < 0:
                raise ContentTooLarge(
                    f"A row has at most {MAX_LINE_BYTES:,} bytes: look for a quote that is not "
                    f"closed before line {self.line}."
                )
            yield line.decode("utf-8", "surrogateescape") + "\n"

    def document(self, row: RawRow) -> Any:
        """What a row says; None for the end of an export.

        Raises:
            DomainError: it is no row of this header, or nothing that PostgreSQL could keep.
        """
        cells = row.cells or ()
        if cells[0] == _END_CELL:
            return None
        if len(cells) != len(self.header):
            raise BadRequest(f"{len(cells)} cells below {len(self.header)} names.")
        document: dict[str, Any] = {}
        for name, cell in zip(self.header, cells, strict=True):
            if cell:
                document[name] = _value_of(name, cell)
        return document


def _check_header(header: Sequence[str], names: frozenset[str]) -> None:
    unknown = [name for name in header if name not in names]
    if unknown:
        raise Invalid.field("", f"Line 1: no such column: {unknown[0][:50]!r}.")
    if len(set(header)) < len(header):
        raise Invalid.field("", "Line 1: a column is named twice.")
    if "url" not in header:
        raise Invalid.field("", "Line 1: there is no column `url`.")


def _value_of(name: str, cell: str) -> Any:
    """What a cell stands for; as text where it stands for nothing, which its field then says."""
    if "\0" in cell:
        raise Invalid.field(f"/{name}", "Must not contain U+0000.")
    if not cell.isascii() and any("\ud800" <= character <= "\udfff" for character in cell):
        raise Invalid.field(f"/{name}", "Not UTF-8.")
    if name in _NUMBERS:
        return int(cell) if _NUMBER.fullmatch(cell) else cell
    if name in ("forward_query", "has_password"):
        return _BOOLEANS.get(cell.lower(), cell)
    if name == "tags" and not cell.startswith("["):
        return [tag for tag in map(str.strip, cell.split(",")) if tag]
    if name == "tags" or (name == "metadata" and cell.startswith("{")):
        return _json_of(name, cell)
    return cell


def _json_of(name: str, cell: str) -> Any:
    try:
        value = orjson.loads(cell)
    except orjson.JSONDecodeError as error:
        raise Invalid.field(f"/{name}", f"Not JSON: {error.msg}.") from None
    if "\\u0000" in cell:
        refuse_nul(value)
    return value
