"""Hand the tables of a migrated database to a Citus cluster, by Citus's own functions.

Tables of shards are distributed by `slot`, all in one co-location group, so that what is asked of
one slot stays on one node. Tables of the directory are reference tables, a copy on every node, as
far as Citus can copy them; the others stay on the coordinator. See docs/citus.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, MetaData, Table, text

from api.core.database.migrate import MigrationError

DISTRIBUTION_COLUMN = "slot"
# Every other table of a shard goes where its slot of this one is.
ANCHOR = "links"
# Citus makes no reference table of one that has triggers, and nothing that a trigger writes to may
# be one: the trigger runs inside of what Citus does to a table, where it starts nothing else.
KEPT_BY_TRIGGERS = frozenset(("audit_events", "memberships", "revocations", "users"))

_IS_THERE = text("SELECT to_regclass('citus_tables') IS NOT NULL")
_HAS_COORDINATOR = text("SELECT EXISTS (SELECT FROM pg_dist_node WHERE groupid = 0)")
_TABLES = text("SELECT table_name::text, citus_table_type, distribution_column FROM citus_tables")


@dataclass(frozen=True)
class Placing:
    """What Citus is to make of a table."""

    table: str
    kind: str
    column: str
    sql: str


def placings(models: Mapping[str, MetaData]) -> Iterator[Placing]:
    """What Citus is asked for, in this order: who is referred to comes before who refers."""
    directory, shard = models["directory"], models["shard"]
    for table in directory.sorted_tables:
        if not _stays(table):
            yield _reference(table.name)
    yield _distributed(ANCHOR, "none")
    for table in shard.sorted_tables:
        if table.name != ANCHOR:
            yield _distributed(table.name, ANCHOR)


def distribute(
    connection: Connection, models: Mapping[str, MetaData], report: Callable[[str], None]
) -> None:
    """Ask Citus for what it has not made yet, each table in a transaction of its own.

    Writes to a table wait while its rows go to the nodes, which takes as long as it takes.

    Raises:
        MigrationError: there is no Citus, or it has a table in another way; says what to do.
        sqlalchemy.exc.DBAPIError: Citus refuses.
    """
    made = _made(connection)
    connection.execute(text("SET statement_timeout = 0"))
    connection.commit()
    for wanted in placings(models):
        kind, column = made.get(wanted.table, ("local", "<none>"))
        if kind == "local":
            connection.execute(text(wanted.sql))
            connection.commit()
            report(f"citus: {wanted.sql.removeprefix('SELECT ')}")
        elif (kind, column) != (wanted.kind, wanted.column):
            raise MigrationError(
                f"Citus has the table {wanted.table} as {kind} by {column}, not {wanted.kind} by"
                f" {wanted.column}: SELECT undistribute_table('{wanted.table}'), then once more"
            )
    connection.rollback()
    report("citus: up to date")


def _made(connection: Connection) -> dict[str, tuple[str, str]]:
    if not connection.scalar(_IS_THERE):
        raise MigrationError(
            "DATABASE_URL: no Citus there: add citus to shared_preload_libraries, restart the"
            " server, and run CREATE EXTENSION citus in this database"
        )
    if not connection.scalar(_HAS_COORDINATOR):
        raise MigrationError(
            "DATABASE_URL: Citus does not know its coordinator, which keeps tables, too: run"
            " SELECT citus_set_coordinator_host('its name', 5432) in this database"
        )
    found = {name: (kind, column) for name, kind, column in connection.execute(_TABLES)}
    connection.rollback()
    return found


def _stays(table: Table) -> bool:
    """Whether a table of the directory stays on the coordinator.

    So does one that refers to such a table: Citus carries no cascade from there to all nodes.
    """
    targets = (key.column.table for key in table.foreign_keys if key.column.table is not table)
    return table.name in KEPT_BY_TRIGGERS or any(map(_stays, targets))


def _reference(name: str) -> Placing:
    return Placing(name, "reference", "<none>", f"SELECT create_reference_table('{name}')")


def _distributed(name: str, beside: str) -> Placing:
    call = (
        f"create_distributed_table('{name}', '{DISTRIBUTION_COLUMN}', colocate_with => '{beside}')"
    )
    return Placing(name, "distributed", DISTRIBUTION_COLUMN, f"SELECT {call}")
