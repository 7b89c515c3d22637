"""The point of a backup: one moment at which no database is being written.

On each database one transaction locks the tables against writers (who wait; readers do not), and
another takes a snapshot once all databases are locked. So a transaction is in the backup if it was
committed before, and what followed from another that is not, on whichever database, is not either.
The locks go at once; the snapshots stay, and are what is copied.

Writers wait for as long as those who were there before them take, but never longer than they would
without complaint: then the locks go, and it is tried again a little later.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg2.errors
from sqlalchemy import Connection, exc, text

from api.core.database.backups.errors import Busy
from api.core.database.backups.tables import Table, find_names, find_tables, is_gate
from api.core.database.moving.peers import Peer

# By default writers give up after two seconds, with a 503.
_WRITERS_WAIT_SECONDS = 1.5
# Who holds some tables and waits for others may wait for whom it holds up. PostgreSQL looks for
# that after a second, and ends one of both: we have given up before.
_REST_SECONDS = 0.8
_PAUSE_SECONDS = 1.0
# Autovacuum gives way to who has waited for a second.
_VACUUM_SECONDS = 1.4

_BUSY = (psycopg2.errors.QueryCanceled, psycopg2.errors.DeadlockDetected)
_SNAPSHOT = text(
    "SELECT pg_export_snapshot() AS id, current_schema() AS schema,"
    " pg_current_wal_insert_lsn()::text AS wal_position, clock_timestamp() AS at"
)
_KEPT_BY_CHORES = text(
    """
    SELECT DISTINCT held.relname
    FROM pg_locks JOIN pg_class AS held ON held.oid = relation
    WHERE mode = 'ShareUpdateExclusiveLock' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND held.relnamespace = current_schema()::regnamespace
    """
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A database as it was at the point, for as long as `connection` is open."""

    name: str
    connection: Connection
    id: str
    schema: str
    wal_position: str
    at: datetime
    tables: Sequence[Table]


@dataclass(frozen=True, slots=True)
class Point:
    """All databases at one moment."""

    snapshots: Sequence[Snapshot]
    writers_waited_seconds: float
    tries: int

    @property
    def at(self) -> datetime:
        """The moment, by the clock of the first database."""
        return self.snapshots[0].at


@contextmanager
def take_point(
    peers: Sequence[Peer],
    patience_seconds: float,
    on_busy: Callable[[str], object] = lambda _: None,
) -> Iterator[Point]:
    """Snapshots of all databases at one moment, kept within the context.

    Raises:
        Busy: for so long there was no moment at which nobody wrote.
    """
    until = time.monotonic() + patience_seconds
    with ExitStack() as stack, ThreadPoolExecutor(len(peers)) as threads:
        connections = [
            (stack.enter_context(peer.connect()), stack.enter_context(peer.connect()))
            for peer in peers
        ]
        for tries in itertools.count(1):
            try:
                snapshots, waited = _try(peers, connections, threads)
            except Busy as error:
                if time.monotonic() > until:
                    raise
                on_busy(str(error))
            else:
                yield Point(snapshots, waited, tries)
                return
            for peer in peers:
                _stop_chores(peer)
            time.sleep(_PAUSE_SECONDS)


def _try(
    peers: Sequence[Peer],
    connections: Sequence[tuple[Connection, Connection]],
    threads: ThreadPoolExecutor,
) -> tuple[list[Snapshot], float]:
    """Snapshots, and for how long who wrote had to wait.

    Raises:
        Busy: somebody writes for too long.
    """
    names = [peer.name for peer in peers]
    locking = [lock for lock, _ in connections]
    reading = [read for _, read in connections]
    tables = _all(threads, find_tables, locking)
    # What PostgreSQL must look up for a new connection it has looked up when others wait for it.
    for read in reading:
        find_names(read)
        read.rollback()
    began = time.monotonic()
    try:
        until = [began + _WRITERS_WAIT_SECONDS] * len(peers)
        _all(threads, _lock_writers, names, locking, tables, until)
        found = _all(threads, _read_from_now_on, names, reading, tables)
    except BaseException:
        for _, read in connections:
            read.rollback()
        raise
    finally:
        for lock, _ in connections:
            lock.rollback()
    return found, time.monotonic() - began


def _all(threads: ThreadPoolExecutor, do: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The results of all; an error only when none of them uses its connection any more."""
    futures = [threads.submit(do, *each) for each in zip(*arguments, strict=True)]
    wait(futures)
    return [future.result() for future in futures]


def _lock_writers(name: str, connection: Connection, tables: Sequence[Table], until: float) -> None:
    """Let nobody write."""
    # Who writes a part of a table has locked the whole; what works on parts alone is in nobody's
    # way here, and would be for long.
    whole = [table for table in tables if not table.is_part]
    gate = [table for table in whole if is_gate(table)]
    rest = [table for table in whole if not is_gate(table)]
    try:
        _lock(connection, gate, "SHARE", until - time.monotonic())
        _lock(connection, rest, "SHARE", min(until - time.monotonic(), _REST_SECONDS))
    except exc.OperationalError as error:
        if not isinstance(error.orig, _BUSY):
            raise
        raise Busy(f"somebody writes {name}, or vacuums it, for too long") from None


def _read_from_now_on(name: str, connection: Connection, locked: Sequence[Table]) -> Snapshot:
    """A snapshot, of tables that nobody changes for as long as it is there."""
    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    row = connection.execute(_SNAPSHOT).one()
    if find_names(connection) != {table.name for table in locked}:
        raise Busy(f"somebody makes tables in {name}")
    _lock(connection, [table for table in locked if not table.is_part], "ACCESS SHARE", 10.0)
    return Snapshot(name, connection, row.id, row.schema, row.wal_position, row.at, locked)


def _lock(connection: Connection, tables: Sequence[Table], mode: str, seconds: float) -> None:
    if tables:
        milliseconds = max(int(seconds * 1000), 1)
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
        # To read a table is to read its parts, which are not to be dropped meanwhile.
        only = "ONLY " if mode == "SHARE" else ""
        listed = ", ".join(f"{only}{table.quoted}" for table in tables)
        connection.exec_driver_sql(f"LOCK TABLE {listed} IN {mode} MODE")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")


def _stop_chores(peer: Peer) -> None:
    """Have autovacuum give way, which begins again later: one table at a time, so that nobody who
    waits for it can be waited for."""
    with peer.connect() as connection:
        for table in connection.scalars(_KEPT_BY_CHORES).all():
            connection.rollback()
            try:
                quoted = '"{}"'.format(table.replace('"', '""'))
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_VACUUM_SECONDS * 1000:.0f}")
                connection.exec_driver_sql(f"LOCK TABLE ONLY {quoted} IN SHARE MODE")
            except exc.OperationalError as error:
                if not isinstance(error.orig, psycopg2.errors.LockNotAvailable):
                    raise
            finally:
                connection.rollback()
