"""One engine, and so one connection pool, per database and process."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import orjson
import psycopg2.extras
from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from api.core.database.connections import Connections, Held
from api.core.database.hosts import Hosts
from api.core.database.pools import MeasuredPool
from api.core.database.timeouts import (
    TRANSACTION_LIMITS,
    connect_arguments,
    prepare,
    transaction_limits,
)
from api.core.dependencies import Dependency
from config.settings import Settings


def make_engine(url: str, settings: Settings, hosts: Hosts, database: Dependency) -> Engine:
    """An engine with bounded waits; it connects at first use, never before a fork."""
    limits = transaction_limits(settings)
    engine = create_engine(
        url,
        poolclass=MeasuredPool,
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_max_overflow,
        pool_timeout=settings.db_pool_timeout_seconds,
        pool_use_lifo=True,
        # The same reader as for requests: `json` would make whole numbers past 64 bits of what
        # came in as 1e20, and orjson could not send those.
        json_serializer=lambda content: orjson.dumps(content).decode(),
        json_deserializer=orjson.loads,
        # Options that are there are put together anew with each statement.
        # What a statement is asked with is often personal, and its error goes into logs.
        hide_parameters=True,
        execution_options={TRANSACTION_LIMITS: limits} if limits else {},
    )
    assert isinstance(engine.pool, MeasuredPool)  # noqa: S101 - see above
    engine.pool.database = database
    event.listen(engine, "do_connect", lambda *_: hosts.connect())
    event.listen(engine, "checkin", _note_return)
    event.listen(engine, "checkout", _ping_if_doubtful)
    if limits:
        event.listen(engine, "connect", lambda made, _: prepare(made, settings))
        event.listen(engine, "begin", _limit)
    return engine


def make_connections(settings: Settings, hosts: Hosts, database: Dependency) -> Connections:
    """Connections for statements that are transactions of their own."""

    def connect() -> Any:
        connection = hosts.connect()
        prepare(connection, settings)
        connection.autocommit = True
        psycopg2.extras.register_default_jsonb(connection, loads=orjson.loads)
        return connection

    return Connections(
        connect,
        database,
        size=settings.db_pool_size,
        timeout_seconds=settings.db_pool_timeout_seconds,
    )


def connect_parameters(url: str, settings: Settings, *, read_only: bool) -> dict[str, Any]:
    """What libpq is told to connect; what is `read_only` begins no transaction that could write."""
    parsed = make_url(url)
    _, named = parsed.get_dialect()().create_connect_args(parsed)
    return {**named, **connect_arguments(settings, read_only=read_only)}


def _limit(connection: Connection) -> None:
    """Limit a transaction that has begun on a server process which others used before."""
    if not connection.connection.dbapi_connection.autocommit:  # type: ignore[union-attr]
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(connection.get_execution_options()[TRANSACTION_LIMITS])


def _note_return(connection: Any, entry: ConnectionPoolEntry) -> None:
    if connection is None:
        return
    # SQLAlchemy leaves False behind a reader, which is BEGIN READ WRITE for the next: as if the
    # server's own word, that nothing is to be written any more, did not count.
    connection.readonly = None
    if "held" in entry.info:
        entry.info["held"].note_return()


def _ping_if_doubtful(connection: Any, entry: ConnectionPoolEntry, fairy: Any) -> None:
    """Replace a connection that ended in the pool: a restart of the server fails no request."""
    del fairy
    held = entry.info.get("held")
    if held is None:
        entry.info["held"] = Held(connection)
    elif not held.is_usable():
        # The others in the pool were made before the same restart.
        raise exc.InvalidatePoolError
