"""Says what was measured: a table for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from bench.large_payloads.runs import Transfer

_MEGABYTE = 1 << 20
# More than that above idle is a failure, at any size.
MOST_BYTES = 150 * _MEGABYTE

HEADER = [
    "", "rows", "MB", "rows/s", "psql \\copy, rows/s", "of psql", "web, CPU s",
    "web, MB above idle", "job worker, MB above idle", "client, MB",
]  # fmt: skip


def rows_of(transfers: Sequence[Transfer]) -> list[list[str]]:
    """One line each."""
    return [
        [
            one.what,
            f"{one.rows:,}",
            f"{one.bytes / 1e6:,.0f}",
            f"{one.rows_per_second:,.0f}",
            f"{one.ceiling_rows_per_second:,.0f}",
            f"{one.rows_per_second / one.ceiling_rows_per_second:.2f}",
            f"{one.web.cpu_seconds:,.1f}",
            f"{one.web.above_idle_bytes / _MEGABYTE:,.0f}",
            "" if one.worker is None else f"{one.worker.above_idle_bytes / _MEGABYTE:,.0f}",
            f"{one.client_peak_bytes / _MEGABYTE:,.0f}",
        ]
        for one in transfers
    ]


def text(transfers: Sequence[Transfer]) -> str:
    """For a terminal."""
    table = [HEADER, *rows_of(transfers)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        )
        for row in table
    )  # fmt: skip


def markdown(place: str, transfers: Sequence[Transfer]) -> str:
    """For docs/performance.md."""
    rule = ["---"] + ["---:"] * (len(HEADER) - 1)
    lines = ["| " + " | ".join(row) + " |" for row in (HEADER, rule, *rows_of(transfers))]
    return f"\nMeasured on {place}.\n\n" + "\n".join(lines) + "\n\n"


def complaints(transfers: Sequence[Transfer]) -> list[str]:
    """Where more was held than may be."""
    return [
        f"{one.what}, {one.rows:,} rows: the {name} held {use.above_idle_bytes / _MEGABYTE:,.0f} MB"
        for one in transfers
        for name, use in (("web worker", one.web), ("job worker", one.worker))
        if use is not None and use.above_idle_bytes > MOST_BYTES
    ]
