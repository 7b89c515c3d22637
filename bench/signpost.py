"""Signpost itself, as it is started in production but for a few settings, which are named here."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import psycopg2

from api.clicks.folder import OPEN
from api.core.embedded.errors import EmbeddedError
from bench.contestants import Account, Contestant
from bench.cores import Cores, pinned
from bench.usage import run_measured
from tests.chaos.system import PrivateSystem
from tests.running import ROOT

# Nobody ships or counts clicks beside the load, so the spool holds them all; and a worker that is
# replaced after so many requests, which takes seconds here, would cut connections off.
# Rivals limit nobody, so neither does the plan; what limits cost is measured apart.
_SETTINGS = {
    "SPOOL_MAX_BYTES": str(1 << 40),
    "GUNICORN_MAX_REQUESTS": "0",
    "DEFAULT_PLAN": "unlimited",
}


class Signpost(Contestant):
    """One web server, over servers that it shares with other contestants."""

    name = "Signpost"
    source = "config/gunicorn.py"
    health = "/health/ready"
    records_clicks = True

    def __init__(
        self,
        folder: Path,
        cores: Cores,
        servers: PrivateSystem,
        *,
        name: str = name,
        workers: int = 1,
        everywhere: frozenset[int],
        settings: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        """`arguments` are gunicorn's, and stronger than those of its configuration."""
        self.name = f"{name}, {workers} workers" if workers > 1 else name
        super().__init__(folder, cores)
        self._workers = workers
        self._servers = servers
        self._everywhere = everywhere
        self._settings = dict(settings or {})
        self._arguments = arguments

    def command(self) -> Sequence[str]:
        command = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"]
        return [*command, *self._arguments]

    def environ(self) -> Mapping[str, str]:
        own = {
            "PORT": str(self.port),
            "WEB_CONCURRENCY": str(self._workers),
            "SIGNPOST_HOME": str(self.folder / "home"),
        }
        return self._servers.environ() | _SETTINGS | own | self._settings

    def settle(self) -> Account:
        """Let one `scripts/consume-clicks --once` count what is in the spool, on every core.

        Raises:
            EmbeddedError: it failed, or counts and raw clicks are not the same number.
        """
        self._wait_sealed()
        before = self._counts()
        with pinned(self._everywhere):
            command = [sys.executable, "scripts/consume-clicks", "--once", "--json"]
            ended = run_measured(command, self.environ(), ROOT)
        if ended.status != 0:
            raise EmbeddedError(f"the consumer failed with status {ended.status}, see above")
        counted = self._counts() - before
        if json.loads(ended.output)["clicks"] != counted:
            raise EmbeddedError(
                f"the consumer says {ended.output.strip()}, but {counted:,} are there"
            )
        return Account(counted, ended.seconds)

    def link_count(self) -> int:
        """How many links there are."""
        return self._ask("SELECT count(*) FROM links")

    def _counts(self) -> int:
        raw = self._ask("SELECT count(*) FROM clicks")
        summed = self._ask("SELECT coalesce(sum(clicks), 0) FROM link_totals")
        if raw != summed:
            raise EmbeddedError(f"{self.name}: {raw:,} raw clicks, but links count {summed:,}")
        return raw

    def _wait_sealed(self) -> None:
        """Wait until every click is in a segment that a consumer may take."""
        deadline = time.monotonic() + 30
        spool = self.folder / "home" / "spool"
        while any(path.suffix == OPEN for path in spool.iterdir()):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{self.name} does not seal its spool")
            time.sleep(0.1)

    def _ask(self, query: str) -> int:
        with (
            closing(psycopg2.connect(self._servers.postgres.url)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(query)
            return int(cursor.fetchone()[0])
