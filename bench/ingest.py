"""How many clicks one consumer counts in a second, beside the most that PostgreSQL can take.

The ceiling is a plain COPY of the very same rows into an identical table, without any statistics,
in batches of the size that the consumer writes.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import psycopg2

from api.core.embedded.errors import EmbeddedError
from bench.backlog import Backlog
from bench.usage import Ended, PeakMemory, cpu_seconds, run_measured
from tests.chaos.system import PrivateSystem
from tests.running import ROOT

_CONSUME = [sys.executable, "scripts/consume-clicks", "--once", "--json"]
_CEILING = "clicks_ceiling"
_COPY_ROWS = 50_000
_MEGABYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class IngestFigures:
    """What was measured; times without the start of the consumer, which is apart."""

    clicks: int
    links: int
    start_seconds: float
    seconds: float
    clicks_per_second: float
    consumer_cpu_ms_per_1000: float
    postgres_cpu_ms_per_1000: float
    consumer_peak_mb: int
    postgres_peak_mb: dict[str, int]
    ceiling_per_second: float
    ceiling_cpu_ms_per_1000: float
    ratio: float
    raw_bytes_per_click: float
    counts_bytes_per_click: float

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """For people."""
        peaks = ", ".join(f"{kind} {size}" for kind, size in self.postgres_peak_mb.items())
        return [
            ("clicks, links", f"{self.clicks:,}, {self.links:,}"),
            ("one consumer", f"{self.clicks_per_second:,.0f} clicks/s ({self.seconds:.1f} s)"),
            ("  before its first click", f"{self.start_seconds:.1f} s"),
            ("plain COPY of the same rows", f"{self.ceiling_per_second:,.0f} rows/s"),
            ("ratio", f"{self.ratio:.2f}"),
            ("CPU of the consumer", f"{self.consumer_cpu_ms_per_1000:.1f} ms per 1,000 clicks"),
            ("CPU of PostgreSQL", f"{self.postgres_cpu_ms_per_1000:.1f} ms per 1,000 clicks"),
            ("CPU of PostgreSQL, plain COPY", f"{self.ceiling_cpu_ms_per_1000:.1f} ms per 1,000"),
            ("peak memory of the consumer", f"{self.consumer_peak_mb} MiB"),
            ("peak memory of PostgreSQL (MiB)", peaks),
            ("raw clicks on disk", f"{self.raw_bytes_per_click:.0f} bytes per click"),
            ("counts on disk", f"{self.counts_bytes_per_click:.0f} bytes per click"),
        ]


def measure_ingest(
    system: PrivateSystem, backlog: Backlog, progress: Callable[[int], None]
) -> IngestFigures:
    """Write a backlog, let one consumer count it, then copy the same rows.

    Raises:
        EmbeddedError: the consumer failed, or did not count every click once.
    """
    for done in backlog.write(system.home / "spool"):
        progress(done)
    spool, aside = system.home / "spool", system.home / "aside"
    spool.rename(aside)
    # What a consumer costs before its first click; the first one also warms the file cache.
    start = min((_consume(system, 0) for _ in range(2)), key=attrgetter("seconds"))
    if spool.exists():
        spool.rmdir()
    aside.rename(spool)
    postmaster = system.postgres.process_id
    assert postmaster is not None  # noqa: S101 - the system runs
    with closing(psycopg2.connect(system.postgres.url)) as connection:
        connection.autocommit = True
        _run(connection, "CHECKPOINT")
        before = cpu_seconds(postmaster)
        with PeakMemory(postmaster) as memory:
            run = _consume(system, backlog.clicks)
        postgres_cpu = cpu_seconds(postmaster) - before
        sizes = _sizes(connection)
        ceiling_seconds, ceiling_cpu = _measure_ceiling(connection, system.folder, postmaster)
    seconds = run.seconds - start.seconds
    thousands = backlog.clicks / 1000
    rate, ceiling = backlog.clicks / seconds, backlog.clicks / ceiling_seconds
    return IngestFigures(
        clicks=backlog.clicks,
        links=backlog.links,
        start_seconds=start.seconds,
        seconds=seconds,
        clicks_per_second=rate,
        consumer_cpu_ms_per_1000=(run.cpu_seconds - start.cpu_seconds) * 1000 / thousands,
        postgres_cpu_ms_per_1000=postgres_cpu * 1000 / thousands,
        consumer_peak_mb=run.peak_bytes // _MEGABYTE,
        postgres_peak_mb={
            kind: size // _MEGABYTE for kind, size in sorted(memory.bytes_by_kind.items())
        },
        ceiling_per_second=ceiling,
        ceiling_cpu_ms_per_1000=ceiling_cpu * 1000 / thousands,
        ratio=rate / ceiling,
        raw_bytes_per_click=sizes["clicks"] / backlog.clicks,
        counts_bytes_per_click=sizes["click_counts"] / backlog.clicks,
    )


def _consume(system: PrivateSystem, clicks: int) -> Ended:
    run = run_measured(_CONSUME, system.environ(), ROOT)
    if run.status != 0 or json.loads(run.output)["clicks"] != clicks:
        raise EmbeddedError(f"the consumer should have counted {clicks:,} clicks: {run.output}")
    return run


def _measure_ceiling(connection: Any, folder: Path, postmaster: int) -> tuple[float, float]:
    """Seconds, and PostgreSQL's CPU seconds, for COPY of all raw clicks in the order they have."""
    dump = folder / "rows"
    with connection.cursor() as cursor, dump.open("w") as stream:
        cursor.copy_expert("COPY (SELECT * FROM clicks) TO STDOUT", stream)
    _make_ceiling(connection)
    _run(connection, "CHECKPOINT")
    before, seconds = cpu_seconds(postmaster), 0.0
    with dump.open() as stream, connection.cursor() as cursor:
        for batch in _batches(stream):
            started = time.perf_counter()
            cursor.copy_expert(f"COPY {_CEILING} FROM STDIN", batch)
            seconds += time.perf_counter() - started
    used = cpu_seconds(postmaster) - before
    _run(connection, f"DROP TABLE {_CEILING}")
    dump.unlink()
    return seconds, used


def _batches(stream: io.TextIOBase) -> Iterator[io.StringIO]:
    while text := "".join(islice(stream, _COPY_ROWS)):
        yield io.StringIO(text)


def _make_ceiling(connection: Any) -> None:
    """A table like that of the clicks: its columns, its key, its months."""
    _run(
        connection,
        f"CREATE TABLE {_CEILING} (LIKE clicks INCLUDING ALL) PARTITION BY RANGE (clicked_at)",
    )
    months = _run(
        connection,
        "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits"
        " JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'clicks'::regclass",
    )
    for name, bounds in months:
        _run(connection, f"CREATE TABLE ceiling_{name} PARTITION OF {_CEILING} {bounds}")


def _sizes(connection: Any) -> dict[str, int]:
    query = (
        "SELECT pg_partition_root(c.oid)::regclass::text, sum(pg_total_relation_size(c.oid))"
        " FROM pg_class c WHERE relispartition AND relkind = 'r' GROUP BY 1"
        " UNION ALL SELECT 'click_counts', pg_total_relation_size('click_counts')"
    )
    return {name: int(size) for name, size in _run(connection, query)}


def _run(connection: Any, statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []
