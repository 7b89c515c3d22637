"""Adding shards, and looking whether all is where it should be."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from api.core.database.lineages import HEAD, current_revision, move, newest_revision
from api.core.database.moving import fences, replication
from api.core.database.moving.errors import ShardError
from api.core.database.moving.mover import told_facts
from api.core.database.moving.peers import Peer, Peers
from api.core.database.moving.ranges import slots_in, told
from api.core.database.moving.record import Directory, find_moves, read_slots
from api.core.database.moving.requirements import check_server
from api.core.database.moving.tables import SlotTable, find_tables, whole
from api.core.database.slot_map import MAIN, Slots, ranges_of


@dataclass
class Verdict:
    """What a look at one shard found."""

    shard: str
    rows: dict[str, int] = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "shard": self.shard,
            "rows": self.rows,
            "copies": self.copies,
            "faults": self.faults,
        }


def add_shard(
    directory: Directory,
    peers: Peers,
    shard: Peer,
    url: str | None,
    report: Callable[[str], object] = lambda _: None,
) -> None:
    """Make an empty database a shard that owns nothing yet; safe to run again.

    Raises:
        ShardError: it cannot be one.
    """
    main = peers.main
    _refuse_known(directory.slots, peers, shard)
    for peer in (main, shard):
        check_server(peer)
    report("the servers can replicate to each other")
    with shard.transaction() as connection:
        if connection.scalar(text("SELECT to_regclass('workspaces') IS NOT NULL")):
            raise ShardError(f"{shard.name}: this database is the directory of an installation")
    with shard.connect() as connection:
        move(connection, "shard", HEAD)
    report("its schema is made")
    for one, other in ((main, shard), (shard, main)):
        replication.check(one, other)
    report("each can subscribe to the other")
    with shard.transaction() as connection:
        strangers = [it.name for it in find_tables(connection) if _has_rows(connection, it)]
    owned = directory.slots.owned_by(shard.name)
    if strangers and not owned:
        raise ShardError(f"{shard.name} is not empty: there are rows in {', '.join(strangers)}")
    fences.set_fences(shard, owned)
    fences.set_fences(main, directory.slots.owned_by(MAIN))
    report(f"its fence is up: it owns {told(owned)}")
    directory.add_shard(shard.name, url)


def _refuse_known(slots: Slots, peers: Peers, shard: Peer) -> None:
    """Two names for one database would be moved into itself."""
    for name in slots.shards:
        if name != shard.name and _same_database(peers.of(name, slots.urls), shard):
            raise ShardError(f"this database is the shard {name} already")


def _same_database(one: Peer, other: Peer) -> bool:
    """Whether a lock that is taken on one is held on the other."""
    key = {"key": secrets.randbits(62)}
    with one.transaction() as here, other.transaction() as there:
        here.execute(text("SELECT pg_advisory_xact_lock(:key)"), key)
        return not there.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), key)


def status(peers: Peers) -> dict[str, Any]:
    """Shards with their slots and sizes, and the moves that have not come to their end."""
    with peers.main.transaction() as connection:
        slots = read_slots(connection)
        moves = [told_facts(one) for one in find_moves(connection, ended=False)]
    shards = [_status_of(peers, slots, name) for name in slots.shards]
    return {"version": slots.version, "shards": shards, "moves": moves}


def _status_of(peers: Peers, slots: Slots, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name,
        "slots": [list(span) for span in slots.owned_by(name)],
        "closed": [
            list(span)
            for span in ranges_of(slot for slot in slots.closed if slots.owners[slot] == name)
        ],
        "copies": [list(span) for span in slots.copies.get(name, ())],
    }
    try:
        with peers.of(name, slots.urls).transaction() as connection:
            size = text("SELECT pg_database_size(current_database())")
            found["database_bytes"] = connection.scalar(size)
            found["rows_about"] = {it.table: it.rows for it in whole(connection)}
            found["wal_kept_bytes"] = connection.scalar(
                text(
                    "SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), 0)"
                    "::bigint FROM pg_replication_slots WHERE slot_name LIKE 'signpost\\_move\\_%'"
                )
            )
    except Exception as error:
        found["error"] = str(error).strip().splitlines()[0]
    return found


def verify(peers: Peers) -> Iterator[Verdict]:
    """Look at every row's slot on every shard, at the fences and at the map."""
    with peers.main.transaction() as connection:
        slots = read_slots(connection)
    yield _verify_map(slots)
    for name in slots.shards:
        verdict = Verdict(name)
        with peers.of(name, slots.urls).transaction() as connection:
            _verify_shard(connection, slots, verdict)
        yield verdict


def _verify_map(slots: Slots) -> Verdict:
    verdict = Verdict("map")
    known = set(slots.shards)
    for name in sorted({*slots.owners, *slots.copies} - known):
        verdict.faults.append(f"slots belong to {name}, which is no shard")
    if slots.closed:
        verdict.faults.append(f"closed, so that nobody can write: {told(ranges_of(slots.closed))}")
    return verdict


def _verify_shard(connection: Connection, slots: Slots, verdict: Verdict) -> None:
    name = verdict.shard
    if current_revision(connection, "shard") != newest_revision("shard"):
        verdict.faults.append("its schema is not the newest: run scripts/migrate")
        return
    owned = slots.owned_by(name)
    copied = slots_in(slots.copies.get(name, ()))
    for table in find_tables(connection):
        rows = _rows_by_slot(connection, table)
        verdict.rows[table.name] = sum(
            count for slot, count in rows.items() if slots.owners[slot] == name
        )
        foreign = {slot: count for slot, count in rows.items() if slots.owners[slot] != name}
        copies = sum(count for slot, count in foreign.items() if slot in copied)
        if copies:
            verdict.copies[table.name] = copies
        strangers = sorted(foreign.keys() - copied)
        if strangers:
            count = sum(foreign[slot] for slot in strangers)
            verdict.faults.append(
                f"{table.name} has {count} rows of slots {told(ranges_of(strangers))},"
                " which belong to other shards"
            )
    closed = {slot for slot in slots.closed if slots.owners[slot] == name}
    if not closed and not copied:
        for table_name in fences.missing_fences(connection, owned):
            verdict.faults.append(f"{table_name} has another fence than the map says")


def _rows_by_slot(connection: Connection, table: SlotTable) -> dict[int, int]:
    query = text(f'SELECT slot, count(*) FROM "{table.name}" WHERE slot >= 0 GROUP BY slot')
    return {row[0]: row[1] for row in connection.execute(query)}


def _has_rows(connection: Connection, table: SlotTable) -> bool:
    """Whether a table has rows of any slot."""
    query = text(f'SELECT EXISTS (SELECT FROM "{table.name}" WHERE slot >= 0)')
    return bool(connection.scalar(query))
