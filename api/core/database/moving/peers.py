"""The server of a shard, as whoever moves slots speaks to it: directly, and for hours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2.extensions
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from api.core.database.moving.errors import ShardError
from api.core.database.slot_map import MAIN
from config.kinds import database_url
from config.settings import Settings

# Rows are compared as text, so that both servers must write values alike.
_OPTIONS = {
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "statement_timeout": "0",
    "lock_timeout": "10000",
    # Deletes on the old shard what its fence would refuse.
    "signpost.moving": "on",
}


class Peer:
    """Opens connections to one shard's primary; none is kept."""

    def __init__(self, name: str, url: str, connect_seconds: int = 5) -> None:
        self.name = name
        self._engine = create_engine(
            url,
            poolclass=NullPool,
            connect_args={
                "connect_timeout": connect_seconds,
                "options": " ".join(f"-c {name}={value}" for name, value in _OPTIONS.items()),
                "application_name": "signpost-shards",
            },
        )

    def connect(self) -> Connection:
        """A connection on which a transaction is begun with `begin()`, and lasts for its block."""
        return self._engine.connect()

    def refuse_pooler(self, connection: Connection) -> None:
        """Make sure that the server itself was reached: locks and settings are of a connection.

        Who cancels a query says the server process by its id, so poolers give ids of their own.

        Raises:
            ShardError: somebody is between.
        """
        told: Any = connection.connection.dbapi_connection
        if told.info.backend_pid != connection.scalar(text("SELECT pg_backend_pid()")):
            name = "MIGRATION_DATABASE_URL" if self.name == MAIN else "MIGRATION_SHARD_URLS"
            raise ShardError(f"{self.name} is behind a pooler: name its own address in {name}")

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection for one transaction, committed at the end."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def outside(self) -> Iterator[Connection]:
        """A connection of which each statement is a transaction of its own."""
        with self._engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def conninfo(self) -> str:
        """Where it is, as PostgreSQL itself is told (libpq's keywords and values)."""
        _, named = self._engine.dialect.create_connect_args(self._engine.url)
        return psycopg2.extensions.make_dsn(**named)


class Peers:
    """The servers of all shards, by name."""

    def __init__(self, settings: Settings) -> None:
        url = settings.migration_database_url or settings.database_url
        if url is None:
            raise ShardError("there is no DATABASE_URL")
        self._settings = settings
        self.main = Peer(MAIN, url, settings.db_connect_timeout_seconds)

    def of(self, name: str, urls: Mapping[str, str | None]) -> Peer:
        """A shard's server; `urls` are those that the directory has.

        Raises:
            ShardError: nobody knows its address.
        """
        if name == MAIN:
            return self.main
        if name not in urls:
            raise ShardError(f"there is no shard {name}: add it first")
        known = dict(self._settings.shard_urls) | dict(self._settings.migration_shard_urls)
        url = known.get(name)
        if url is None and (kept := urls[name]):
            url = database_url(kept)
        if url is None:
            raise ShardError(f"the shard {name} has no address: name it in SHARD_URLS")
        return Peer(name, url, self._settings.db_connect_timeout_seconds)
