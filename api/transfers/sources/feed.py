"""Where rows come from: each feed gives the same rows again from any number on, as a connection may
break at any of them."""

from __future__ import annotations

import io
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from itertools import chain, islice
from typing import BinaryIO

import orjson

from api.transfers.sources import own
from api.transfers.sources.catalogue import Source
from api.transfers.sources.csv_records import read_csv
from api.transfers.sources.errors import Unreadable
from api.transfers.sources.files import BOM, InputFile
from api.transfers.sources.json_records import read_json
from api.transfers.sources.paging import Pages
from api.transfers.sources.records import Record
from api.transfers.sources.rows import Loss, Losses, Row
from api.transfers.sources.sql_records import is_sql, read_sql
from api.transfers.sources.trail import Trail

_MARK_EVERY = 500
_MARKS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is to be other than it was."""

    # Old domain to new one; `*`: any other; "" : none, which is the default domain.
    domains: Mapping[str, str] = field(default_factory=dict)
    redirect_status: int | None = None
    zone: tzinfo = UTC

    def apply(self, row: Row) -> None:
        """Change a row in place."""
        old = str(row.get("domain") or "").lower()
        new = self.domains.get(old, self.domains.get("*", old))
        if new:
            row["domain"] = new
        else:
            row.pop("domain", None)
        if self.redirect_status is not None:
            row.setdefault("redirect_status", self.redirect_status)

    @property
    def fields(self) -> tuple[str, ...]:
        """Those that rows of our own exports may get; none: they stay as they are."""
        status = () if self.redirect_status is None else ("redirect_status",)
        return ("domain", *status) if self.domains else status


class Feed(ABC):
    """Rows in the order of their numbers, as an import takes them."""

    content_type = own.NDJSON
    # What comes before the first row, whatever its number: the header of CSV.
    head = b""
    losses: Losses

    @abstractmethod
    def lines(self, start: int) -> Iterator[bytes]:
        """The rows after the first `start`; only the latest of these iterators may be read."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How much there is, in units of `done`; 0: not known yet."""

    @property
    @abstractmethod
    def done(self) -> int:
        """How much of it is read."""


class RereadFeed(Feed):
    """A file, read from its beginning each time."""

    def __init__(self, file: InputFile) -> None:
        self._file = file
        self.losses = Losses()
        self.trail = Trail()

    @property
    def size(self) -> int:
        return self._file.size_bytes

    @property
    def done(self) -> int:
        return self._file.position_bytes


class OwnFeed(RereadFeed):
    """A file that a Signpost exported."""

    def __init__(self, file: InputFile, changes: Changes) -> None:
        super().__init__(file)
        self._columns = changes.fields
        self._change = changes.apply if self._columns else None
        with file.opened() as stream:
            self.content_type = own.type_of(stream)
        if self.content_type == own.CSV:
            with file.opened() as stream:
                self.head = next(self._csv(stream))

    def lines(self, start: int) -> Iterator[bytes]:
        with self._file.opened() as stream:
            if self.content_type == own.CSV:
                rows: Iterator[bytes] = islice(self._csv(stream), 1, None)
            else:
                rows = own.read_ndjson(stream, self._change)
            yield from self.trail.after(self.head, rows, start)

    def _csv(self, stream: BinaryIO) -> Iterator[bytes]:
        return own.read_csv_rows(stream, self._change, self._columns)


class FileFeed(RereadFeed):
    """A file that another service exported."""

    def __init__(self, file: InputFile, source: Source, changes: Changes) -> None:
        super().__init__(file)
        self._source = source
        self._changes = changes

    def lines(self, start: int) -> Iterator[bytes]:
        # All of it is read again: what is not kept of the first rows counts, too.
        self.losses.clear()
        with self._file.opened() as stream:
            records = checked(records_of(stream, self._source), self._source)
            rows = self._source.rows_of(records, self.losses, self._changes.zone)
            yield from self.trail.after(self.head, encoded(rows, self._changes), start)


Marks = deque[tuple[int, Losses]]


class ServiceFeed(Feed):
    """The links of a running service, page by page, from about where it was left."""

    def __init__(self, pages: Pages, source: Source, changes: Changes) -> None:
        self._pages = pages
        self._source = source
        self._changes = changes
        self._row = 0
        self.losses = Losses()
        # What was not kept of so many rows: from here on a feed can be read again.
        self.marks: Marks = deque(maxlen=_MARKS)

    def lines(self, start: int) -> Iterator[bytes]:
        while self.marks and self.marks[-1][0] > start:
            self.marks.pop()
        self._row, lost = self.marks[-1] if self.marks else (0, Losses())
        self.losses = Losses(lost)
        records = checked(self._pages.records(self._row), self._source)
        rows = self._source.rows_of(records, self.losses, self._changes.zone)
        for line in encoded(rows, self._changes):
            self._row += 1
            if self._row % _MARK_EVERY == 0:
                self.marks.append((self._row, Losses(self.losses)))
            if self._row > start:
                yield line

    @property
    def size(self) -> int:
        return self._pages.total

    @property
    def done(self) -> int:
        return self._row


def records_of(stream: io.BufferedReader, source: Source) -> Iterator[Record]:
    """The records of a file, whatever its format.

    Raises:
        Unreadable: it is empty, or damaged.
    """
    head = stream.peek(1024).removeprefix(BOM).lstrip()
    if not head:
        raise Unreadable("it is empty")
    if head[:1] in b"[{":
        if stream.peek(len(BOM)).startswith(BOM):
            stream.read(len(BOM))
        return read_json(stream, source.pages)
    text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
    if source.table is not None and is_sql(head.decode("latin-1")):
        return read_sql(text, source.table.ending, source.table.columns)
    return read_csv(text)


def checked(records: Iterator[Record], source: Source) -> Iterator[Record]:
    """The records, if the first one looks like a link of that service.

    Raises:
        Unreadable: it does not.
    """
    first = next(records, None)
    if first is None:
        return iter(())
    if not any(first.has(name) for name in source.targets):
        names = ", ".join(first.names[:6]) or "nothing"
        wanted = source.targets[0]
        raise Unreadable(f"no links of {source.title}: {wanted} is missing among {names}")
    return chain((first,), records)


def encoded(rows: Iterator[Row], changes: Changes) -> Iterator[bytes]:
    """Rows as lines of NDJSON."""
    for row in rows:
        changes.apply(row)
        try:
            yield orjson.dumps(row) + b"\n"
        except TypeError:  # half of a surrogate pair, which no UTF-8 can have
            yield json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def marks_to_json(marks: Marks) -> list[list[object]]:
    """Marks for a file of state."""
    return [[row, [[*loss, count] for loss, count in lost.items()]] for row, lost in marks]


def marks_from_json(saved: list[list[object]]) -> Marks:
    """Marks of a file of state."""
    marks: Marks = deque(maxlen=_MARKS)
    for row, lost in saved:
        counts = {Loss(name, why): count for name, why, count in lost}  # type: ignore[attr-defined]
        marks.append((int(str(row)), Losses(counts)))
    return marks
