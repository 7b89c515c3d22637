"""What of a shard belongs to slots, as its own catalogue says.

Every table whose primary key begins with `slot`, so that a table of tomorrow is moved, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from api.core.database.moving.ranges import condition
from api.core.database.sessions import SlotRange

# The slot of a segment is not that of the links in it, see `beside`; the map is the directory's.
_OTHERS = ["ingested_segments", "slots"]

# Those that refer to others come first: so they can be deleted from in this order.
_TABLES = text(
    """
    SELECT held.relname AS name, held.relkind = 'p' AS divided,
        (SELECT string_agg(quote_ident(attname) ||
            CASE WHEN atttypid = 'tsvector'::regtype THEN '::text' ELSE '' END, ', '
            ORDER BY attname)
         FROM pg_attribute
         WHERE attrelid = held.oid AND attnum > 0 AND NOT attisdropped) AS hashed
    FROM pg_class AS held
    JOIN pg_index AS key ON key.indrelid = held.oid AND key.indisprimary
    JOIN pg_attribute AS first
        ON first.attrelid = held.oid AND first.attnum = key.indkey[0]
    WHERE held.relnamespace = current_schema()::regnamespace
        AND held.relkind IN ('r', 'p') AND NOT held.relispartition
        AND first.attname = 'slot' AND held.relname <> ALL(:others)
        AND to_regclass(held.relname) = held.oid
    ORDER BY EXISTS (
            SELECT FROM pg_constraint WHERE conrelid = held.oid AND contype = 'f'
        ) DESC, held.relname
    """
)
_PARTITIONS = text(
    """
    SELECT child.relname AS name, parent.relname AS parent,
        pg_get_expr(child.relpartbound, child.oid) AS bound
    FROM pg_inherits
    JOIN pg_class AS child ON child.oid = inhrelid
    JOIN pg_class AS parent ON parent.oid = inhparent
    WHERE parent.relname = ANY(:parents) AND NOT inhdetachpending
        AND parent.relnamespace = current_schema()::regnamespace
    ORDER BY child.relname
    """
)

_SIZE = text(
    """
    SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint,
        coalesce(sum(greatest(reltuples, 0)), 0)::bigint
    FROM pg_class
    WHERE relname = ANY(:leaves) AND relnamespace = current_schema()::regnamespace
        AND relkind = 'r'
    """
)


@dataclass(frozen=True, slots=True)
class SlotTable:
    """A table whose rows belong to slots."""

    name: str
    # Whether it is divided into partitions.
    divided: bool
    # Its columns, as SQL that PostgreSQL can hash.
    hashed: str


@dataclass(frozen=True, slots=True)
class Amount:
    """Rows of a table, and about how many bytes they take."""

    table: str
    rows: int
    size_bytes: int


def find_tables(connection: Connection) -> list[SlotTable]:
    """All tables of slots, those that refer to others first.

    Raises:
        sqlalchemy.exc.ProgrammingError: the database has no schema.
    """
    rows = connection.execute(_TABLES, {"others": _OTHERS})
    return [SlotTable(row.name, row.divided, row.hashed) for row in rows]


def find_leaves(connection: Connection, tables: Sequence[SlotTable]) -> list[str]:
    """The tables that hold rows, in the order of `tables`."""
    parts: dict[str, list[str]] = {table.name: [] for table in tables if table.divided}
    for row in connection.execute(_PARTITIONS, {"parents": list(parts)}):
        parts[row.parent].append(row.name)
    return [leaf for table in tables for leaf in parts.get(table.name, [table.name])]


def copy_partitions(source: Connection, target: Connection) -> int:
    """Make the partitions that only the source has; how many were missing.

    Attached rather than made as partitions: that waits for nobody who reads or writes the others.
    """
    parents = {"parents": [table.name for table in find_tables(source) if table.divided]}
    there = {row.name for row in target.execute(_PARTITIONS, parents)}
    missing = [row for row in source.execute(_PARTITIONS, parents) if row.name not in there]
    for row in missing:
        target.exec_driver_sql(
            f'CREATE TABLE IF NOT EXISTS "{row.name}" (LIKE "{row.parent}" INCLUDING DEFAULTS)'
        )
        target.exec_driver_sql(
            f'ALTER TABLE "{row.parent}" ATTACH PARTITION "{row.name}" {row.bound}'
        )
    return len(missing)


def count(connection: Connection, ranges: Sequence[SlotRange]) -> list[Amount]:
    """How much there is to move; rows are counted, sizes are their share of the whole."""
    found = []
    for table in whole(connection):
        query = text(f'SELECT count(*) FROM "{table.table}" WHERE {condition(ranges)}')
        rows = int(connection.scalar(query) or 0)
        share = min(rows / max(table.rows, 1), 1.0)
        found.append(Amount(table.table, rows, int(table.size_bytes * share)))
    return found


def whole(connection: Connection) -> list[Amount]:
    """The sizes of all tables, and about how many rows they have."""
    found = []
    for table in find_tables(connection):
        size, rows = connection.execute(_SIZE, {"leaves": find_leaves(connection, [table])}).one()
        found.append(Amount(table.name, rows, size))
    return found


def analyze(connection: Connection, tables: Sequence[SlotTable]) -> None:
    """Let the planner know of rows that came at once."""
    for table in tables:
        connection.exec_driver_sql(f'ANALYZE "{table.name}"')
