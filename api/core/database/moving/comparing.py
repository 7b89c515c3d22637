"""Proves that two shards have the same rows of some slots: counts and checksums, slot by slot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from sqlalchemy import Connection, text

from api.core.database.moving.errors import RowsDiffer
from api.core.database.moving.peers import Peer
from api.core.database.moving.ranges import condition, told
from api.core.database.moving.tables import SlotTable, find_tables
from api.core.database.sessions import SlotRange
from api.core.database.slot_map import ranges_of

_SHOWN = 3


class Digest(NamedTuple):
    """The rows of one slot in one table: how many, and the sum of their hashes."""

    rows: int
    checksum: int


def compare(
    source: Peer,
    target: Peer,
    ranges: Sequence[SlotRange],
    on_table: Callable[[str], object] = lambda _: None,
) -> dict[str, int]:
    """The number of rows of each table, which are the same on both shards.

    Both are read at the same time, each in one snapshot.

    Raises:
        RowsDiffer: they are not.
    """
    with ThreadPoolExecutor(2) as threads:
        here = threads.submit(_digests, source, ranges, on_table)
        there = threads.submit(_digests, target, ranges, lambda _: None)
        ours, theirs = here.result(), there.result()
    wrong = [
        f"{table} (slots {told(ranges_of(slots))})"
        for table in ours
        if (slots := _differing(ours[table], theirs.get(table, {})))
    ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise RowsDiffer(f"the copy differs in {', '.join(wrong[:_SHOWN])}{more}")
    return {
        table: sum(digest.rows for digest in digests.values()) for table, digests in ours.items()
    }


def _digests(
    peer: Peer, ranges: Sequence[SlotRange], on_table: Callable[[str], object]
) -> dict[str, dict[int, Digest]]:
    found = {}
    with peer.connect() as plain:
        connection = plain.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            for table in find_tables(connection):
                on_table(table.name)
                found[table.name] = digest(connection, table, ranges)
    return found


def digest(
    connection: Connection, table: SlotTable, ranges: Sequence[SlotRange]
) -> dict[int, Digest]:
    """What a table has of some slots, computed columns included."""
    query = text(
        f"SELECT slot, count(*), sum(hash_record_extended(ROW({table.hashed}), 0))"
        f' FROM "{table.name}" WHERE {condition(ranges)} GROUP BY slot'
    )
    return {slot: Digest(rows, int(hashes)) for slot, rows, hashes in connection.execute(query)}


def _differing(ours: dict[int, Digest], theirs: dict[int, Digest]) -> list[int]:
    return sorted(
        slot for slot in ours.keys() | theirs.keys() if ours.get(slot) != theirs.get(slot)
    )
