"""The fence: a shard refuses rows of slots that it does not own.

Whoever writes by a map that is out of date is refused by the database itself (SQLSTATE SP001). To
put a fence up waits for those who write at that moment, and so is the barrier of a move: behind it
nothing of these slots is written any more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import psycopg2.errors
from sqlalchemy import Connection, exc, text

from api.core.database.moving.errors import MoveDelayed
from api.core.database.moving.peers import Peer
from api.core.database.moving.ranges import all_but, multirange
from api.core.database.moving.tables import find_tables
from api.core.database.sessions import SlotRange

_IN = "fence_in"
_OUT = "fence_out"
# While the lock is waited for, whoever writes the table queues behind.
_LOCK_TIMEOUT = "3s"
_PAUSE_SECONDS = 0.2
_BUSY = (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected)
_ROWS = "'{refused}'::int4multirange @> {row}.slot::int"
# After the row, not before it: a trigger before each row would have COPY insert them one by one.
_CREATE_IN = (
    'CREATE OR REPLACE TRIGGER {name} AFTER INSERT OR UPDATE ON "{table}" FOR EACH ROW'
    f" WHEN ({_ROWS}) EXECUTE FUNCTION refuse_foreign_slot('{{refused}}')"
)
_CREATE_OUT = (
    'CREATE OR REPLACE TRIGGER {name} AFTER DELETE ON "{table}" FOR EACH ROW'
    f" WHEN ({_ROWS}) EXECUTE FUNCTION refuse_foreign_slot('{{refused}}')"
)
_FENCES = text(
    """
    SELECT held.relname AS table, tgname AS name,
        rtrim(encode(tgargs, 'escape'), '\\\\0') AS refused
    FROM pg_trigger JOIN pg_class AS held ON held.oid = tgrelid
    WHERE held.relnamespace = current_schema()::regnamespace AND NOT held.relispartition
        AND tgname IN ('fence_in', 'fence_out') AND tgenabled <> 'D'
    """
)


def find_fences(connection: Connection) -> dict[tuple[str, str], str]:
    """What each trigger refuses, as PostgreSQL writes ranges, by table and name."""
    return {(row.table, row.name): row.refused for row in connection.execute(_FENCES)}


def missing_fences(connection: Connection, owned: Sequence[SlotRange]) -> list[str]:
    """The tables of a shard whose fence is not that of a shard which owns these slots."""
    refused = multirange(all_but(owned))
    there = find_fences(connection)
    return [
        table.name
        for table in find_tables(connection)
        if any(there.get((table.name, name), "{}") != refused for name in (_IN, _OUT))
    ]


def set_fences(peer: Peer, owned: Sequence[SlotRange], within_seconds: float = 60.0) -> None:
    """Have a shard refuse all slots but those that it owns; waits for those who write them.

    A table after the other: who wrote one of them before its fence, and comes to the next one
    behind it, is refused there, and all that it wrote with it.

    Raises:
        MoveDelayed: somebody writes for longer than `within_seconds`.
    """
    until = time.monotonic() + within_seconds
    with peer.connect() as connection:
        with connection.begin():
            missing = missing_fences(connection, owned)
        for table in missing:
            while not _set_fence(connection, table, multirange(all_but(owned))):
                if time.monotonic() > until:
                    raise MoveDelayed(f"somebody writes {table} of {peer.name} for too long")
                time.sleep(_PAUSE_SECONDS)


def _set_fence(connection: Connection, table: str, refused: str) -> bool:
    """Whether it is done; false where somebody holds the table."""
    try:
        with connection.begin():
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            for name, create in ((_IN, _CREATE_IN), (_OUT, _CREATE_OUT)):
                if refused == "{}":
                    statement = f'DROP TRIGGER IF EXISTS {name} ON "{table}"'
                else:
                    row = "NEW" if name == _IN else "OLD"
                    statement = create.format(name=name, table=table, refused=refused, row=row)
                connection.exec_driver_sql(statement)
    except exc.OperationalError as error:
        if isinstance(
            error.orig, psycopg2.errors.LockNotAvailable | psycopg2.errors.DeadlockDetected
        ):
            return False
        raise
    return True
