"""Deletes rows of slots from a shard that does not own them, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from api.core.database.moving.peers import Peer
from api.core.database.moving.ranges import condition
from api.core.database.moving.tables import find_leaves, find_tables
from api.core.database.sessions import SlotRange

_ROWS_AT_ONCE = 5_000


def clear(peer: Peer, ranges: Sequence[SlotRange]) -> Iterator[int]:
    """Delete all rows of these slots; yields after each transaction how many went."""
    with peer.connect() as connection:
        with connection.begin():
            leaves = find_leaves(connection, find_tables(connection))
        for leaf in leaves:
            statement = (
                f'DELETE FROM "{leaf}" WHERE ctid = ANY(ARRAY(SELECT ctid FROM "{leaf}"'
                f" WHERE {condition(ranges)} LIMIT {_ROWS_AT_ONCE}))"
            )
            deleted = _ROWS_AT_ONCE
            while deleted == _ROWS_AT_ONCE:
                with connection.begin():
                    deleted = connection.exec_driver_sql(statement).rowcount
                yield deleted


def reclaim(peer: Peer) -> None:
    """Let the space of deleted rows be used again now, and the planner know of it."""
    with peer.outside() as connection:
        for table in find_tables(connection):
            connection.exec_driver_sql(f'VACUUM (ANALYZE) "{table.name}"')
