"""The servers that are measured: private, with the same links in each arrangement."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from api.core.database.migrate import migrate
from api.core.embedded.errors import EmbeddedError
from api.core.embedded.postgres import EmbeddedPostgres
from api.core.ids import SLOTS, new_id
from api.core.slugs import generate_slug
from config.settings import Settings
from tests.services.network import free_ports

WORKSPACE = 1
_LINKS = "COPY links (slot, id, workspace_id, domain, slug, url, title, tags) FROM STDIN"
_START_SECONDS = 30.0
# Reads alone are measured: what must not be lost was written before.
_OPTIONS = {"fsync": "off", "max_connections": "60", "autovacuum": "off"}


def start_servers(folder: Path, number: int) -> list[EmbeddedPostgres]:
    """Servers of their own, running."""
    servers = [
        EmbeddedPostgres(folder / f"server-{place}", port=port, options=_OPTIONS)
        for place, port in enumerate(free_ports(number), 1)
    ]
    for server in servers:
        server.start()
    deadline = time.monotonic() + _START_SECONDS
    for server in servers:
        while not server.ready():
            if server.exit_status() is not None or time.monotonic() > deadline:
                raise EmbeddedError(server.complaint())
            time.sleep(0.05)
    return servers


@contextmanager
def servers_running(folder: Path, number: int) -> Iterator[list[EmbeddedPostgres]]:
    """The same, stopped with the context."""
    servers = start_servers(folder, number)
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


def processes_of(server: int) -> list[int]:
    """The processes of a PostgreSQL, the first its own."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text()
    return [server, *map(int, children.split())]


def cpu_seconds(server: int) -> float:
    """What the processes of a PostgreSQL have used so far, to the microsecond."""
    return sum(map(_cpu_of, processes_of(server)))


def _cpu_of(process: int) -> float:
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0  # it has ended meanwhile


class Rows:
    """The links of one workspace; the same ones wherever they are put."""

    def __init__(self, links: int) -> None:
        self.ids = [new_id(number % SLOTS) for number in range(links)]
        self._lines = [
            f"{number % SLOTS}\t{identifier}\t{WORKSPACE}\tgo.example.com\t{generate_slug(7)}"
            f"\thttps://example.com/page/{number}?ref=mail\tPage {number}\t{{spring,mail}}\n"
            for number, identifier in enumerate(self.ids)
        ]

    def put(self, urls: Sequence[str]) -> None:
        """Spread the slots evenly over databases, the first of which has the directory."""
        shards = {f"shard{number}": url for number, url in enumerate(urls[1:], 1)}
        listed = ",".join(f"{name}={url}" for name, url in shards.items())
        settings = Settings.load({"DATABASE_URL": urls[0], "SHARD_URLS": listed})
        migrate(settings, report=_silent)
        self._assign(urls[0], ["main", *shards], shards)
        for place, url in enumerate(urls):
            lines = (
                line
                for number, line in enumerate(self._lines)
                if _place(number % SLOTS, len(urls)) == place
            )
            with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
                cursor.copy_expert(_LINKS, io.StringIO("".join(lines)))
                connection.commit()
                connection.autocommit = True
                cursor.execute("VACUUM ANALYZE")

    def _assign(self, directory: str, names: Sequence[str], shards: dict[str, str]) -> None:
        """Tell the directory which shard has which slots."""
        rows: list[tuple[Any, ...]] = [
            (slot, names[_place(slot, len(names))]) for slot in range(SLOTS)
        ]
        with closing(psycopg2.connect(directory)) as connection, connection.cursor() as cursor:
            cursor.executemany("INSERT INTO shards (name, url) VALUES (%s, %s)", shards.items())
            if shards:
                cursor.executemany(
                    "INSERT INTO slots (slot, shard, closed) VALUES (%s, %s, false)", rows
                )
                cursor.execute("UPDATE slot_map SET version = version + 1")
            connection.commit()


def new_database(server: EmbeddedPostgres, name: str) -> str:
    """The URL of an empty database."""
    with closing(psycopg2.connect(server.url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
    return server.url.rpartition("/")[0] + f"/{name}"


def _place(slot: int, databases: int) -> int:
    """Which of so many databases has a slot."""
    return slot * databases // SLOTS


def _silent(line: str) -> None:
    del line
