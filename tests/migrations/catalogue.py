"""What a database consists of, as PostgreSQL's catalogues have it."""

from __future__ import annotations

from sqlalchemy import Connection, text

# The tables of Alembic itself come and go with the first revision of a lineage.
_OURS = "relnamespace = 'public'::regnamespace AND relname NOT LIKE 'alembic%'"
_PARTS = {
    "column": f"""
        SELECT relname || '.' || attname, format_type(atttypid, atttypmod)
            || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
            || CASE attgenerated::text WHEN '' THEN '' ELSE ' GENERATED' END
            || coalesce(' DEFAULT ' || pg_get_expr(adbin, adrelid), '')
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE {_OURS} AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
    """,
    "index": f"""
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)
            || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END
        FROM pg_index JOIN pg_class ON pg_class.oid = indrelid WHERE {_OURS}
    """,
    "constraint": f"""
        SELECT relname || '.' || conname, pg_get_constraintdef(pg_constraint.oid)
        FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
        WHERE {_OURS} AND contype <> 'n'
    """,
    "trigger": f"""
        SELECT relname || '.' || tgname, pg_get_triggerdef(pg_trigger.oid) || ' ' || tgenabled::text
        FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE {_OURS} AND NOT tgisinternal
    """,
    "function": """
        SELECT pg_proc.oid::regprocedure::text, pg_get_functiondef(pg_proc.oid) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND prokind IN ('f', 'p')
    """,
    "sequence": f"SELECT relname, '' FROM pg_class WHERE {_OURS} AND relkind = 'S'",
}


def parts(connection: Connection) -> dict[str, str]:
    """Each part, by its kind and name: how it is defined."""
    return {
        f"{kind} {name}": str(definition)
        for kind, question in _PARTS.items()
        for name, definition in connection.execute(text(question))
    }


def rows(connection: Connection) -> dict[str, list[str]]:
    """The rows of each table, as JSON."""
    tables = connection.scalars(
        text(f"SELECT relname FROM pg_class WHERE {_OURS} AND relkind IN ('r', 'p')")
    ).all()
    return {
        table: sorted(connection.scalars(text(f"SELECT to_jsonb({table})::text FROM {table}")))
        for table in tables
    }
