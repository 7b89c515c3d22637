"""Logical replication of some slots, from their shard to another: PostgreSQL copies and follows.

A publication with a row filter on the source, a replication slot of the same name, a subscription
on the target. The slot is made by ourselves: CREATE SUBSCRIPTION would wait for ever for it where
both databases are on one server.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import psycopg2.errors
from sqlalchemy import Connection, exc, text

from api.core.database.moving.errors import ShardError
from api.core.database.moving.peers import Peer
from api.core.database.moving.ranges import condition
from api.core.database.moving.record import Move
from api.core.database.moving.tables import find_tables

_PAUSE_SECONDS = 0.2
# How long a worker that was told to end may take.
_END_SECONDS = 30.0

_STATE = text(
    """
    SELECT
        (SELECT count(*) FROM pg_subscription_rel WHERE srsubid = held.oid) AS tables,
        (SELECT count(*) FROM pg_subscription_rel
         WHERE srsubid = held.oid AND srsubstate = 'r') AS copied,
        (SELECT coalesce(sum(tuples_processed), 0)::bigint FROM pg_stat_progress_copy
         JOIN pg_stat_activity USING (pid)
         WHERE backend_type LIKE 'logical replication%'
            AND pg_stat_progress_copy.datname = current_database()) AS copying,
        (SELECT apply_error_count + sync_error_count FROM pg_stat_subscription_stats
         WHERE subid = held.oid) AS errors
    FROM pg_subscription AS held
    WHERE subname = :name AND subdbid = (SELECT oid FROM pg_database
        WHERE datname = current_database())
    """
)
_LAG = text(
    "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint"
    " FROM pg_replication_slots WHERE slot_name = :name"
)
_PASSED = text(
    "SELECT confirmed_flush_lsn >= CAST(:position AS pg_lsn)"
    " FROM pg_replication_slots WHERE slot_name = :name"
)
_STANDBYS = text(
    "SELECT count(*) FROM pg_stat_replication"
    " WHERE replay_lsn < CAST(:position AS pg_lsn) AND pid NOT IN"
    " (SELECT active_pid FROM pg_replication_slots"
    "  WHERE slot_type = 'logical' AND active_pid IS NOT NULL)"
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the copy is: tables that are copied of all, rows of those that are being copied,
    bytes of WAL that the target has not taken, errors so far."""

    tables: int
    copied: int
    copying_rows: int
    lag_bytes: int
    errors: int

    @property
    def is_copied(self) -> bool:
        """Whether all that was there has been copied, and changes are followed."""
        return self.copied == self.tables


def exists(target: Connection, move: Move) -> bool:
    """Whether the subscription is there."""
    return target.execute(_STATE, {"name": move.name}).first() is not None


def begin(source: Peer, target: Peer, move: Move) -> None:
    """Make publication, slot and subscription; what an earlier try left of them goes first."""
    end(source, target, move)
    with source.transaction() as connection:
        chosen = condition(move.ranges)
        tables = ", ".join(f'"{it.name}" WHERE {chosen}' for it in find_tables(connection))
        connection.exec_driver_sql(
            f"CREATE PUBLICATION {move.name} FOR TABLE {tables}"
            " WITH (publish = 'insert, update, delete', publish_via_partition_root = true)"
        )
    with source.outside() as connection:
        # It waits for all transactions that have begun; nobody waits for it meanwhile.
        connection.exec_driver_sql("SET lock_timeout = 0")
        query = text("SELECT pg_create_logical_replication_slot(:name, 'pgoutput')")
        connection.execute(query, {"name": move.name})
    with target.transaction() as connection:
        connection.exec_driver_sql(
            f"CREATE SUBSCRIPTION {move.name} CONNECTION {_quoted(source.conninfo)}"
            f" PUBLICATION {move.name}"
            f" WITH (create_slot = false, slot_name = '{move.name}', origin = none)"
        )


def end(source: Peer, target: Peer, move: Move) -> None:
    """Take all three away, whatever of them is there."""
    with target.outside() as connection:
        if exists(connection, move):
            connection.exec_driver_sql(f"ALTER SUBSCRIPTION {move.name} DISABLE")
            connection.exec_driver_sql(f"ALTER SUBSCRIPTION {move.name} SET (slot_name = NONE)")
            connection.exec_driver_sql(f"DROP SUBSCRIPTION {move.name}")
    with source.outside() as connection:
        _drop_slot(connection, move.name)
        connection.exec_driver_sql(f"DROP PUBLICATION IF EXISTS {move.name}")


def progress(source: Connection, target: Connection, move: Move) -> Progress:
    """How far the copy is.

    Raises:
        ShardError: there is no subscription.
    """
    state = target.execute(_STATE, {"name": move.name}).first()
    lag = source.scalar(_LAG, {"name": move.name})
    if state is None or lag is None:
        raise ShardError(f"the subscription {move.name} is gone: abort the move")
    return Progress(state.tables, state.copied, state.copying, int(lag), state.errors or 0)


def position(connection: Connection) -> str:
    """Where a server's WAL ends now."""
    return str(connection.scalar(text("SELECT pg_current_wal_insert_lsn()")))


def has_passed(source: Connection, move: Move, place: str) -> bool:
    """Whether the target has all that was written on the source before a place of its WAL."""
    return bool(source.scalar(_PASSED, {"name": move.name, "position": place}))


def standbys_behind(target: Connection, place: str) -> int:
    """How many standbys of a server have not replayed its WAL up to a place."""
    return int(target.scalar(_STANDBYS, {"position": place}) or 0)


def check(source: Peer, target: Peer) -> None:
    """Prove that the target can subscribe to the source: it is tried, and rolled back.

    Raises:
        ShardError: it cannot; why, as PostgreSQL says it.
    """
    try:
        with target.connect() as connection, connection.begin() as transaction:
            connection.exec_driver_sql("SET LOCAL client_min_messages = error")
            connection.exec_driver_sql(
                f"CREATE SUBSCRIPTION signpost_check CONNECTION {_quoted(source.conninfo)}"
                " PUBLICATION signpost_check"
                " WITH (create_slot = false, slot_name = NONE, enabled = false, copy_data = false)"
            )
            transaction.rollback()
    except exc.DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise ShardError(f"{target.name} cannot subscribe to {source.name}: {reason}") from error


def _drop_slot(connection: Connection, name: str) -> None:
    """Drop a replication slot as soon as nobody uses it."""
    until = time.monotonic() + _END_SECONDS
    query = text(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
        " WHERE slot_name = :name"
    )
    while True:
        try:
            connection.execute(query, {"name": name})
        except exc.DBAPIError as error:
            if isinstance(error.orig, psycopg2.errors.ObjectInUse) and time.monotonic() < until:
                # Its sender notices late that the subscription is gone.
                with contextlib.suppress(exc.DBAPIError):
                    connection.execute(
                        text(
                            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
                            " WHERE slot_name = :name AND active_pid IS NOT NULL"
                        ),
                        {"name": name},
                    )
                time.sleep(_PAUSE_SECONDS)
                continue
            raise
        return


def _quoted(value: str) -> str:
    """A text as a literal of SQL, in a statement that takes no parameters."""
    escaped = value.replace("\\", "\\\\").replace("'", "''").replace("%", "%%")
    return f"E'{escaped}'"
