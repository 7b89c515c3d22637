"""What is in a database: its tables, and how many rows each has, with a checksum of them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

# Who counts clicks writes there first, and what it writes takes longest: see `point`.
_GATE = "ingested_segments"
# Those that others refer to come before them, as they are written in that order.
_TABLES = text(
    """
    SELECT held.relname AS name, held.relkind = 'r' AS has_rows, held.relispartition AS is_part,
        pg_table_size(held.oid) AS size_bytes,
        (SELECT string_agg(quote_ident(attname) ||
            CASE WHEN atttypid = ANY('{tsvector,json,xml}'::regtype[]) THEN '::text' ELSE '' END,
            ', ' ORDER BY attname)
         FROM pg_attribute
         WHERE attrelid = held.oid AND attnum > 0 AND NOT attisdropped) AS hashed
    FROM pg_class AS held
    WHERE held.relnamespace = current_schema()::regnamespace AND held.relkind IN ('r', 'p')
        AND held.relpersistence = 'p'
    ORDER BY held.relname <> :gate, EXISTS (
            SELECT FROM pg_constraint WHERE conrelid = held.oid AND contype = 'f'
        ), held.relname
    """
)
_NAMES = text(
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
    " AND relkind IN ('r', 'p') AND relpersistence = 'p'"
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table, which may be divided into others or be a part of one."""

    name: str
    has_rows: bool
    is_part: bool
    size_bytes: int
    # Its columns, as SQL that PostgreSQL can hash.
    hashed: str

    @property
    def quoted(self) -> str:
        """For SQL."""
        return '"{}"'.format(self.name.replace('"', '""'))


def find_tables(connection: Connection) -> list[Table]:
    """All tables of the schema, in the order in which they are to be locked."""
    return [Table(*row) for row in connection.execute(_TABLES, {"gate": _GATE})]


def find_names(connection: Connection) -> set[str]:
    """The names of the same tables."""
    return set(connection.scalars(_NAMES))


def is_gate(table: Table) -> bool:
    """Whether writers who take long begin with this table."""
    return table.name == _GATE


def digest(connection: Connection, table: Table) -> tuple[int, str]:
    """How many rows a table has, and the sum of the hashes of all, computed columns included."""
    query = text(
        f"SELECT count(*), coalesce(sum(hash_record_extended(ROW({table.hashed}), 0)), 0)"
        f" FROM ONLY {table.quoted}"
    )
    rows, checksum = connection.execute(query).one()
    return int(rows), str(checksum)
