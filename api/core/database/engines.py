"""One engine, and so one connection pool, per database and process."""

from __future__ import annotations

import orjson
from sqlalchemy import Engine, create_engine

from config.settings import Settings


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
    return create_engine(
        url,
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_max_overflow,
        pool_timeout=settings.db_pool_timeout_seconds,
        # A ping costs one round trip per checkout and saves a failed request after each restart
        # of the server.
        pool_pre_ping=True,
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
