"""The rival that does Signpost's job: Express 5 with a process cache, Redis and PostgreSQL."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg2
from psycopg2.extras import execute_values

from api.core.embedded.errors import EmbeddedError
from bench.contestants import Account, Contestant, Link
from bench.cores import Cores
from bench.needs import EXPRESS, find
from tests.chaos.system import PrivateSystem


class Express(Contestant):
    """Express 5, `node:cluster` where there is more than one worker."""

    name = "Express 5"
    source = "bench/rivals/express"
    health = "/health"
    records_clicks = True

    def __init__(
        self, folder: Path, cores: Cores, servers: PrivateSystem, *, workers: int = 1
    ) -> None:
        self.name = f"{self.name}, {workers} workers" if workers > 1 else self.name
        super().__init__(folder, cores)
        self.key = secrets.token_urlsafe(32)
        self._workers = workers
        self._servers = servers
        # Each has a database of its own, and a list in a database of Valkey's.
        self._database = f"express{workers}_{self.port}"
        self._redis_database = workers

    def prepare(self, links: Sequence[Link]) -> None:
        """Make its database, with an account and these links."""
        with closing(psycopg2.connect(self._servers.postgres.url)) as connection:
            connection.autocommit = True
            _run(connection, f"CREATE DATABASE {self._database}")
        with closing(self._connect()) as connection, connection:
            _run(connection, (EXPRESS / "schema.sql").read_text())
            digest = hashlib.sha256(self.key.encode()).digest()
            _run(connection, "INSERT INTO accounts (key_digest) VALUES (%s)", [digest])
            with connection.cursor() as cursor:
                execute_values(
                    cursor,
                    "INSERT INTO links (account_id, slug, url) VALUES %s",
                    [(1, link.slug, link.url) for link in links],
                )
        with closing(self._connect()) as connection:
            connection.autocommit = True
            _run(connection, "VACUUM ANALYZE links")

    def command(self) -> Sequence[str]:
        return [find("node"), str(EXPRESS / "server.js")]

    def environ(self) -> Mapping[str, str]:
        postgres, redis = urlsplit(self._servers.postgres.url), urlsplit(self._servers.valkey.url)
        return {
            "PATH": os.environ["PATH"],
            "NODE_ENV": "production",
            "PORT": str(self.port),
            "WEB_CONCURRENCY": str(self._workers),
            "BASE_URL": f"http://127.0.0.1:{self.port}",
            "PGHOST": parse_qs(postgres.query)["host"][0],
            "PGUSER": postgres.username or "",
            "PGDATABASE": self._database,
            "REDIS_SOCKET": unquote(redis.path),
            "REDIS_DB": str(self._redis_database),
        }

    def settle(self) -> Account:
        """Let `drain.js` move what is in the list into PostgreSQL.

        Raises:
            EmbeddedError: it failed, or the links' counts are not those of the raw clicks.
        """
        time.sleep(0.5)  # the last clicks are on their way into the list
        before, started = self._counts(), time.monotonic()
        drain = [find("node"), str(EXPRESS / "drain.js")]
        done = subprocess.run(
            drain, check=False, env=dict(self.environ()), capture_output=True, text=True
        )
        seconds = time.monotonic() - started
        if done.returncode != 0:
            raise EmbeddedError(f"drain.js failed: {done.stderr.strip()}")
        counted = self._counts() - before
        if json.loads(done.stdout)["clicks"] != counted:
            raise EmbeddedError(f"drain.js says {done.stdout.strip()}, but {counted:,} are there")
        return Account(counted, seconds)

    def link_ids(self) -> list[str]:
        """The ids of its links."""
        with closing(self._connect()) as connection:
            return [str(row[0]) for row in _run(connection, "SELECT id FROM links ORDER BY id")]

    def link_count(self) -> int:
        """How many links there are."""
        with closing(self._connect()) as connection:
            return int(_run(connection, "SELECT count(*) FROM links")[0][0])

    def _counts(self) -> int:
        with closing(self._connect()) as connection:
            ((raw,),) = _run(connection, "SELECT count(*) FROM clicks")
            ((summed,),) = _run(connection, "SELECT coalesce(sum(clicks), 0) FROM links")
        if raw != summed:
            raise EmbeddedError(f"{self.name}: {raw:,} raw clicks, but links count {summed:,}")
        return int(raw)

    def _connect(self) -> Any:
        return psycopg2.connect(self._servers.postgres.url, dbname=self._database)


def _run(connection: Any, statement: str, values: Sequence[Any] | None = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []
