"""Records in CSV: what separates cells is seen from the header."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator

from api.transfers.sources.errors import Unreadable
from api.transfers.sources.records import Record

MAX_CELL = 1 << 20
_DELIMITERS = ",;\t"


def read_csv(lines: Iterable[str]) -> Iterator[Record]:
    """The lines after the header, each by the names of that.

    Raises:
        Unreadable: it is not CSV, or a line has more cells than the header.
    """
    csv.field_size_limit(MAX_CELL)
    source = iter(lines)
    header = next((line for line in source if line.strip()), "")
    delimiter = max(_DELIMITERS, key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    cells = csv.reader(source, delimiter=delimiter)
    try:
        for row in cells:
            if len(row) > len(names):
                raise Unreadable(
                    f"line {cells.line_num + 1} has {len(row)} cells, the header {len(names)}"
                )
            if row:
                yield Record(dict(zip(names, row, strict=False)))
    except csv.Error as error:
        raise Unreadable(f"line {cells.line_num + 1} is not CSV: {error}") from None
