"""Rows as Signpost's own exports write them: sent on as they are, unless something is to change."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import orjson

from api.transfers.sources.csv_records import MAX_CELL
from api.transfers.sources.errors import Unreadable
from api.transfers.sources.files import BOM
from api.transfers.sources.rows import Row

NDJSON = "application/x-ndjson"
CSV = "text/csv"

_MAX_LINE = 1 << 20
_END = b'{"end":'
_CSV_END = "#end"

Change = Callable[[Row], None]


def type_of(stream: BinaryIO) -> str:
    """Whether a file is NDJSON or CSV, by how it begins.

    Raises:
        Unreadable: it is empty, or JSON of another form.
    """
    head = stream.read(1024).removeprefix(BOM).lstrip()
    if not head:
        raise Unreadable("it is empty")
    if head[:1] == b"[":
        raise Unreadable("a list in JSON is no export of a Signpost: name its service with --from")
    return NDJSON if head[:1] == b"{" else CSV


def read_ndjson(stream: BinaryIO, change: Change | None) -> Iterator[bytes]:
    """The lines, but for empty ones and for the last, which tells whether the export was whole.

    Raises:
        Unreadable: a line is too long or, where it is to be changed, not JSON; or the export says
            that it was cut.
    """
    number = 0
    while line := stream.readline(_MAX_LINE):
        number += 1
        if len(line) == _MAX_LINE:
            raise Unreadable(f"line {number} is longer than {_MAX_LINE >> 20} MiB")
        text = line.strip() if number > 1 else line.removeprefix(BOM).strip()
        if text.startswith(_END):
            _check_end(b'"complete":false' not in text.replace(b" ", b""))
        elif text:
            yield (text if change is None else _changed(text, change, number)) + b"\n"


def read_csv_rows(
    stream: BinaryIO, change: Change | None, columns: Sequence[str]
) -> Iterator[bytes]:
    """The header, and each row as a line of CSV (with line breaks where a cell has some).

    `columns` are those that a change may fill; they are added where there are none.

    Raises:
        Unreadable: it is not CSV, or the export says that it was cut.
    """
    csv.field_size_limit(MAX_CELL)
    cells = csv.reader(io.TextIOWrapper(stream, "utf-8-sig", newline=""))
    try:
        header = next(cells, [])
        given = len(header)
        header += [name for name in columns if name not in header]
        yield _line(header)
        for row in cells:
            if row and row[0] == _CSV_END:
                _check_end("false" not in row)
            elif row:
                if change is not None and len(row) == given:
                    row = _changed_cells(header, row, change)  # noqa: PLW2901
                yield _line(row)
    except csv.Error as error:
        raise Unreadable(f"line {cells.line_num} is not CSV: {error}") from None


def _changed(text: bytes, change: Change, number: int) -> bytes:
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"line {number} is not JSON: {error.msg}") from None
    if isinstance(row, dict):
        change(row)
    return orjson.dumps(row)


def _changed_cells(header: list[str], cells: list[str], change: Change) -> list[str]:
    """The cells of a row after a change."""
    row: dict[str, Any] = {
        name: cell for name, cell in zip(header, cells, strict=False) if cell != ""
    }
    change(row)
    return [str(row.get(name, "")) for name in header]


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def _check_end(complete: bool) -> None:
    if not complete:
        raise Unreadable(
            "its last line says that the export was cut: export it again, or take that line out"
        )
