"""The records of an export as its bytes arrive: which are whole, and which was the last."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import orjson

_CHUNK_BYTES = 1 << 20


class Records:
    """Divides bytes of NDJSON or CSV into records; a CSV cell may have line breaks within quotes.

    The last one is `held` back: only when there is another, or the stream has ended, is it known
    whether it was a row or the end.
    """

    def __init__(self, kind: str) -> None:
        self.held: list[bytes] = []
        self._quotes = kind == "csv"
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes; the records that are whole by now, but for the last."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        whole = self.held
        record = b""
        for line in lines:
            record += line + b"\n"
            if not self._quotes or record.count(b'"') % 2 == 0:
                whole.append(record)
                record = b""
        self._rest = record + self._rest
        self.held = whole[-1:]
        return whole[:-1]


def whole_records(file: BinaryIO, kind: str) -> Iterator[list[bytes]]:
    """Those of a file, some at a time."""
    records = Records(kind)
    while data := file.read(_CHUNK_BYTES):
        yield records.feed(data)
    yield records.held


def cells_of(record: bytes) -> list[str]:
    """The cells of a CSV record."""
    return next(csv.reader(io.StringIO(record.decode(), newline="")), [])


def is_end(record: bytes, kind: str) -> bool:
    """Whether the last record of a stream says that this is the end of all."""
    if kind == "csv":
        return cells_of(record)[:2] == ["#end", "true"]
    return bool(_said(record).get("complete"))


def is_row(record: bytes, kind: str) -> bool:
    """Whether the last record of a stream is a row."""
    return not (record.startswith(b"#end,") if kind == "csv" else _said(record))


def row_of(record: bytes, kind: str, header: Sequence[str]) -> dict[str, Any]:
    """A row by the names of its fields."""
    if kind == "csv":
        return dict(zip(header, cells_of(record), strict=True))
    row: dict[str, Any] = orjson.loads(record)
    return row


def _said(record: bytes) -> dict[str, Any]:
    end: dict[str, Any] = orjson.loads(record).get("end", {})
    return end
