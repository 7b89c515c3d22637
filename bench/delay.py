"""How long it takes from a click to its count, on a running system.

PostgreSQL itself tells when the transaction of each click was committed (track_commit_timestamp),
and the click when it was answered, so nothing is polled and nothing is guessed.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg2

from api.core.embedded import processes
from api.core.embedded.errors import EmbeddedError
from api.core.embedded.supervisor import StopSignals
from bench.distributions import Milliseconds
from tests.chaos.system import PrivateSystem
from tests.chaos.visitors import ANSWERED, Plan, read_counts
from tests.running import ROOT

_LINKS = 100
_VISITORS = 16
_WARM_SECONDS = 2.0
_PATIENCE_SECONDS = 60.0
_SETTINGS = {"track_commit_timestamp": "on"}
_DELAYS = """
    SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - clicked_at) * 1000,
        extract(epoch FROM clicked_at)
    FROM clicks WHERE clicked_at > (SELECT min(clicked_at) FROM clicks) + %s * interval '1 s'
"""


@dataclass(frozen=True, kw_only=True)
class DelayFigures:
    """Delays of one running system."""

    broker: bool
    clicks_per_second: float
    clicks: int
    delay: Milliseconds

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """For people."""
        way = "through RabbitMQ" if self.broker else "from the spool"
        return [
            (f"{way}, {self.clicks_per_second:,.0f} clicks/s", f"{self.clicks:,} clicks"),
            ("  from click to count", str(self.delay)),
        ]


def measure_delay(
    folder: Path,
    signals: StopSignals,
    *,
    broker: bool,
    rate: float,
    seconds: float,
    progress: Callable[[int], None],
) -> DelayFigures:
    """Run a whole system under a modest load.

    Raises:
        EmbeddedError: a part does not start, or not every click is counted.
        StopRequested: a signal came first.
    """
    folder.mkdir(mode=0o711)
    system = PrivateSystem(folder, signals, broker=broker, postgres_options=_SETTINGS)
    try:
        system.start()
        slugs = [link["slug"] for link in system.create_links(_LINKS)]
        with _visiting(system, slugs, rate) as counts:
            for _ in range(round(seconds)):
                system.wait(1.0)
                progress(1)
        with closing(psycopg2.connect(system.postgres.url)) as connection:
            connection.autocommit = True
            answered = read_counts(counts)[ANSWERED]
            _wait_counted(system, connection, answered)
            rows = _ask(connection, _DELAYS, [_WARM_SECONDS])
        delays, moments = ([float(value) for value in column] for column in zip(*rows, strict=True))
        return DelayFigures(
            broker=broker,
            clicks_per_second=len(rows) / (max(moments) - min(moments)),
            clicks=len(rows),
            delay=Milliseconds.of(delays),
        )
    finally:
        system.stop()


@contextmanager
def _visiting(system: PrivateSystem, slugs: list[str], rate: float) -> Iterator[Path]:
    """Visitors for a while; the file with their counts."""
    path, counts = system.folder / "plan", system.folder / "counts"
    Plan(
        port=system.port,
        slugs=slugs,
        visitors=_VISITORS,
        requests_per_second=rate,
        seed=1,
        outcomes=str(system.folder / "outcomes"),
        counts=str(counts),
    ).write(path)
    process = processes.spawn(
        [sys.executable, "-m", "tests.chaos.visitors", str(path)],
        death_signal=signal.SIGKILL,
        log=system.folder / "visitors.log",
        folder=ROOT,
    )
    try:
        yield counts
    finally:
        processes.stop(process, [(signal.SIGTERM, 30.0)])


def _wait_counted(system: PrivateSystem, connection: Any, clicks: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (counted := _ask(connection, "SELECT count(*) FROM clicks")[0][0]) < clicks:
        if time.monotonic() > deadline:
            raise EmbeddedError(f"only {counted:,} of {clicks:,} clicks are counted")
        system.wait(0.2)


def _ask(connection: Any, query: str, values: list[Any] | None = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())
