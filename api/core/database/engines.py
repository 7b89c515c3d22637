"""One engine, and so one connection pool, per database and process."""

from __future__ import annotations

import select
import time
from typing import Any

import orjson
from gevent.monkey import get_original
from sqlalchemy import Engine, create_engine, event, exc
from sqlalchemy.pool import ConnectionPoolEntry

from config.settings import Settings

# An idle connection may be forgotten by a firewall, of which nobody is told.
_SURE_SECONDS = 30.0


def make_engine(url: str, settings: Settings, *, read_only: bool = False) -> Engine:
    """An engine with bounded waits; it connects at first use, never before a fork.

    Limits travel as connection options: a `SET SESSION` would be lost with a rollback.
    """
    statement_ms = int(settings.db_statement_timeout_seconds * 1000)
    options = {
        "statement_timeout": statement_ms,
        "lock_timeout": statement_ms,
        "idle_in_transaction_session_timeout": 60_000,
        "timezone": "UTC",
    }
    if read_only:
        options["default_transaction_read_only"] = "on"
    engine = create_engine(
        url,
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_max_overflow,
        pool_timeout=settings.db_pool_timeout_seconds,
        pool_use_lifo=True,
        # The same reader as for requests: `json` would make whole numbers past 64 bits of what
        # came in as 1e20, and orjson could not send those.
        json_serializer=lambda content: orjson.dumps(content).decode(),
        json_deserializer=orjson.loads,
        connect_args={
            "connect_timeout": settings.db_connect_timeout_seconds,
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
            "application_name": "signpost",
        },
    )
    event.listen(engine, "checkin", _note_return)
    event.listen(engine, "checkout", _ping_if_doubtful)
    return engine


def _note_return(connection: Any, entry: ConnectionPoolEntry) -> None:
    if connection is not None:
        entry.info["returned"] = time.monotonic()


def _ping_if_doubtful(connection: Any, entry: ConnectionPoolEntry, fairy: Any) -> None:
    """Replace a connection that ended in the pool: a restart of the server fails no request.

    A ping before each use would cost a round trip. What a server says to an idle connection, that
    it ends above all, can be read: only then it is asked whether it still answers.
    """
    del fairy
    returned = entry.info.get("returned")
    if returned is None:
        return
    if time.monotonic() - returned < _SURE_SECONDS and not _is_readable(connection, entry):
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.rollback()
    except connection.Error:
        # The others in the pool were made before the same restart.
        raise exc.InvalidatePoolError from None


def _is_readable(connection: Any, entry: ConnectionPoolEntry) -> bool:
    poll = entry.info.get("poll")
    if poll is None:
        # The system's own: gevent's would start a watcher for a question that never waits.
        poll = entry.info["poll"] = get_original("select", "poll")()
        poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
