"""How long PostgreSQL lets a statement, a wait for a lock and an idle transaction go on."""

from __future__ import annotations

from typing import Any

from config.settings import Settings

# Of an engine: what each of its transactions begins with.
TRANSACTION_LIMITS = "signpost_transaction_limits"
_REPLICA_CONNECT_SECONDS = 2
_UTC = "SET timezone TO 'UTC'"


def connect_arguments(settings: Settings, *, read_only: bool) -> dict[str, Any]:
    """What libpq is told of it when it connects: a `SET SESSION` would be lost with a rollback.

    PgBouncer takes no such options, and a connection to it leads to another server process with
    each transaction: there each transaction begins with `transaction_limits`.
    """
    seconds = settings.db_connect_timeout_seconds
    arguments: dict[str, Any] = {
        # In place of a replica there is the primary.
        "connect_timeout": min(seconds, _REPLICA_CONNECT_SECONDS) if read_only else seconds,
        "application_name": "signpost",
    }
    if not settings.db_pgbouncer:
        options = _limits(settings) | {"timezone": "UTC"}
        if read_only:
            options["default_transaction_read_only"] = "on"
        arguments["options"] = " ".join(f"-c {name}={value}" for name, value in options.items())
    return arguments


def transaction_limits(settings: Settings) -> str:
    """Statements to put before the first one of each transaction, in the same message; empty where
    connections keep what they were told when they were made."""
    if not settings.db_pgbouncer:
        return ""
    return "".join(f"SET LOCAL {name} = {value}; " for name, value in _limits(settings).items())


def prepare(connection: Any, settings: Settings) -> None:
    """Tell a new connection what PgBouncer remembers of its clients: the time zone."""
    if settings.db_pgbouncer:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(_UTC)
        connection.autocommit = False


def _limits(settings: Settings) -> dict[str, str]:
    seconds = {
        "statement_timeout": settings.db_statement_timeout_seconds,
        "lock_timeout": settings.db_lock_timeout_seconds,
        "idle_in_transaction_session_timeout": settings.db_idle_transaction_seconds,
    }
    return {name: str(max(int(value * 1000), 1)) for name, value in seconds.items()}
