"""What an export is written as."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

from api.core.errors import DomainError
from api.transfers.exports.formats.lines import Lines
from api.transfers.exports.formats.separated import Separated
from api.transfers.exports.kinds import Type

NDJSON, CSV, PARQUET = "ndjson", "csv", "parquet"
CONTENT_TYPES = {
    NDJSON: "application/x-ndjson",
    CSV: "text/csv",
    PARQUET: "application/vnd.apache.parquet",
}


class FormatMissing(DomainError):
    """This installation has not what the format takes."""

    status = 501
    code = "format-missing"
    title = "The format is not installed"


@dataclass(frozen=True, slots=True)
class End:
    """What is said where an export ends."""

    complete: bool
    rows: int
    # Where to go on; None where there is nothing more.
    cursor: str | None


class Format(Protocol):
    """Writes rows, which are the values of the fields in their order, and perhaps more behind."""

    def begin(self) -> bytes:
        """What comes before all rows."""

    def write(self, rows: Sequence[Sequence[Any]]) -> bytes:
        """Rows, or what is due of earlier ones."""

    def end(self, end: End) -> bytes:
        """What comes after all rows, or where they stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How rows are written."""

    format: str = NDJSON
    escape_formulas: bool = False
    trailer: bool = False


def make_format(
    style: Style, fields: Sequence[str], types: Sequence[Type], *, continued: bool
) -> Format:
    """A writer of rows of these fields; `continued` is what goes on after rows that are there.

    Raises:
        FormatMissing: a package for it is not installed.
    """
    if style.format == CSV:
        return Separated(
            fields,
            types,
            header=not continued,
            escape_formulas=style.escape_formulas,
            trailer=style.trailer,
        )
    if style.format == PARQUET:
        return _parquet()(fields, types)
    return Lines(fields, types)


def _parquet() -> Callable[[Sequence[str], Sequence[Type]], Format]:
    if find_spec("pyarrow") is None:
        raise FormatMissing(
            "Parquet takes a package that this installation lacks; whoever runs it can have it "
            "with: pip install -r requirements/parquet.txt"
        )
    from api.transfers.exports.formats.columns import Columns  # noqa: PLC0415 - 60 MB

    return Columns
