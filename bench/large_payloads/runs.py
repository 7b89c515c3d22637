"""Carries links in, links out and clicks out, first few and then many, and counts what arrives."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from api.core.embedded.commands import CommandService
from api.core.embedded.errors import EmbeddedError
from bench.large_payloads.ceiling import Psql
from bench.large_payloads.filling import make_clicks, write_links
from bench.large_payloads.watching import Use, Watched
from bench.usage import run_measured
from config.settings import Settings
from tests.chaos.system import PrivateSystem
from tests.running import ROOT, children_of

SETTINGS = {"DEFAULT_PLAN": "unlimited", "GUNICORN_MAX_REQUESTS": "0"}
_CLICKED_LINKS = 10_000


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """One load that was carried."""

    what: str
    rows: int
    bytes: int
    seconds: float
    web: Use
    worker: Use | None  # of jobs, where it has a part in it
    client_peak_bytes: int
    ceiling_seconds: float  # of psql with the same rows

    @property
    def rows_per_second(self) -> float:
        """From the first byte that was sent to the last row that has arrived."""
        return self.rows / self.seconds

    @property
    def ceiling_rows_per_second(self) -> float:
        """The same of psql."""
        return self.rows / self.ceiling_seconds

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        rates = {"ratio": self.rows_per_second / self.ceiling_rows_per_second}
        return asdict(self) | {"rows_per_second": self.rows_per_second} | rates


class Carrier:
    """A running system with one web worker and one job worker, and its clients."""

    def __init__(self, system: PrivateSystem, say: Callable[[str], object]) -> None:
        self._system = system
        self._say = say
        self._links = self._clicks = 0
        self._files = system.folder / "files"
        self._files.mkdir()
        self._psql = Psql(system.postgres.url, system.folder / "postgres" / "data")

    def start(self) -> None:
        """Start everything, with one link and a key."""
        system = self._system
        system.start_servers()
        system.start_web()
        system.create_links(1)
        self._links = 1
        jobs = CommandService(
            "jobs",
            [sys.executable, "scripts/run-jobs"],
            environ=system.environ(),
            folder=ROOT,
            lock=system.folder / "jobs.lock",
            log=system.folder / "jobs.log",
            grace_seconds=30.0,
        )
        system.add(jobs)
        time.sleep(3.0)  # until it has loaded what it needs: that is idle
        (master,) = [part.service for part in system.parts if part.kind == "master"]
        (worker,) = children_of(_id_of(master))
        self._web, self._worker = Watched(worker), Watched(_id_of(jobs))

    def carry(self, links: int, clicks: int) -> list[Transfer]:
        """So many links in, then all links out, then all clicks out."""
        made = [self._links_in(links)]
        made += [self._links_out("ndjson"), self._links_out("csv")]
        self._say(f"making {clicks:,} clicks")
        self._make_clicks(clicks)
        return [*made, self._clicks_out("ndjson"), self._clicks_out("csv")]

    def _links_in(self, count: int) -> Transfer:
        source = self._files / "links.ndjson"
        write_links(source, self._links, count)
        self._say(f"{count:,} links come in")
        self._begin()
        ended = self._client("scripts/import", str(source), "--json")
        told = json.loads(ended.output)
        if told["created"] != count:
            raise EmbeddedError(f"{count:,} links were sent, {told['created']:,} are there")
        web, worker = self._web.used(), self._worker.used()
        self._links += count
        copied = self._files / "links.csv"
        self._psql.copy_links_out(copied)
        # The table holds those of before, too: the rate counts.
        ceiling = self._psql.copy_links_in(copied) * count / self._links
        return Transfer(
            what="links in, ndjson",
            rows=count,
            bytes=source.stat().st_size,
            seconds=ended.seconds,
            web=web,
            worker=worker,
            client_peak_bytes=ended.peak_bytes,
            ceiling_seconds=ceiling,
        )

    def _links_out(self, kind: str) -> Transfer:
        ceiling = self._psql.copy_links_out(self._files / "ceiling")
        return self._export("links", kind, self._links, ceiling)

    def _clicks_out(self, kind: str) -> Transfer:
        ceiling = self._psql.copy_clicks_out(self._files / "ceiling")
        return self._export("clicks", kind, self._clicks, ceiling)

    def _export(self, what: str, kind: str, rows: int, ceiling: float) -> Transfer:
        path = self._files / f"{what}.{kind}"
        path.unlink(missing_ok=True)
        self._say(f"{rows:,} {what} go out as {kind}")
        self._begin()
        ended = self._client("scripts/export", what, "--format", kind, "-o", str(path), "--json")
        web = self._web.used()
        told = json.loads(ended.output)["rows"]
        if told != rows or _rows_in(path, kind) != rows:
            raise EmbeddedError(f"{rows:,} {what} are there, {told:,} were exported")
        return Transfer(
            what=f"{what} out, {kind}",
            rows=rows,
            bytes=path.stat().st_size,
            seconds=ended.seconds,
            web=web,
            worker=None,
            client_peak_bytes=ended.peak_bytes,
            ceiling_seconds=ceiling,
        )

    def _make_clicks(self, count: int) -> None:
        links = min(_CLICKED_LINKS, self._links, count - self._clicks)
        each = max((count - self._clicks) // links, 1)
        first = self._clicks + 1
        settings = Settings.load(self._system.environ())
        self._clicks = make_clicks(settings, links, range(first, first + each))

    def _begin(self) -> None:
        self._web.begin()
        self._worker.begin()

    def _client(self, *arguments: str) -> Any:
        system = self._system
        url = f"http://127.0.0.1:{system.port}"
        environ = system.environ() | {"SIGNPOST_KEY": system.key}
        command = [sys.executable, *arguments, "--url", url]
        ended = run_measured(command, environ, ROOT)
        if ended.status != 0:
            raise EmbeddedError(f"{arguments[0]} failed with status {ended.status}, see above")
        return ended


def _id_of(service: Any) -> int:
    number = service.process_id
    assert number is not None  # noqa: S101 - it has just been started
    return int(number)


def _rows_in(path: Path, kind: str) -> int:
    """The lines of a file, but for those that are no rows; no value here has a line's end."""
    with path.open("rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
        file.seek(max(path.stat().st_size - 200, 0))
        has_end = b'{"end":' in file.read()
    return lines - 1 if kind == "csv" or has_end else lines
