"""The services whose links can be brought here, each by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from typing import NamedTuple

from api.transfers.sources import bitly, dub, kutt, shlink, yourls
from api.transfers.sources.records import Record
from api.transfers.sources.rows import Loss, Losses, Row

RowsOf = Callable[[Iterable[Record], Losses, tzinfo], Iterator[Row]]


class Table(NamedTuple):
    """Where links are in the database of a service, for dumps of it."""

    ending: str  # of its name, as installations choose the beginning
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """How the links of a service are found in a document, and what they become."""

    title: str
    # Where records are in the JSON of an API: `*` is each member of an object.
    pages: tuple[str, ...]
    # How the target's address is called; what has none of these is no link of this service.
    targets: tuple[str, ...]
    rows_of: RowsOf
    losses: tuple[Loss, ...]
    table: Table | None = None


SOURCES = {
    "shlink": Source("Shlink", shlink.PAGES, shlink.TARGETS, shlink.rows_of, shlink.LOSSES),
    "kutt": Source("Kutt", kutt.PAGES, kutt.TARGETS, kutt.rows_of, kutt.LOSSES),
    "yourls": Source(
        "YOURLS",
        yourls.PAGES,
        yourls.TARGETS,
        yourls.rows_of,
        yourls.LOSSES,
        Table(yourls.TABLE, yourls.COLUMNS),
    ),
    "bitly": Source("Bitly", bitly.PAGES, bitly.TARGETS, bitly.rows_of, bitly.LOSSES),
    "dub": Source("Dub", dub.PAGES, dub.TARGETS, dub.rows_of, dub.LOSSES),
}
