"""What a span tells of a statement: what it does, and nothing of whom."""

from __future__ import annotations

import pytest

from api.core.tracing.sql import _described


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("SELECT id FROM links WHERE slot = %(slot)s", "SELECT links"),
        ("\n  INSERT INTO clicks (a, b)\n  VALUES (%s, %s)", "INSERT clicks"),
        ("INSERT INTO totals(a) SELECT * FROM unnest(%s) AS new", "INSERT totals"),
        ("UPDATE ONLY links SET a = %s", "UPDATE links"),
        ('DELETE FROM "users" WHERE id = %s', "DELETE users"),
        ("COPY clicks (slot, id) FROM STDIN", "COPY clicks"),
        ("SELECT 1", "SELECT"),
        ("SELECT * FROM unnest(%(ids)s) AS asked JOIN links USING (id)", "SELECT links"),
        ("SET TRANSACTION READ ONLY; SELECT a FROM domains", "SELECT domains"),
        (
            "SET TRANSACTION READ ONLY; SET LOCAL lock_timeout = '1s'; SELECT a FROM domains",
            "SELECT domains",
        ),
        ("SET LOCAL statement_timeout = 5", "SET"),
        ("WITH done AS (DELETE FROM jobs RETURNING id) SELECT id FROM done", "WITH jobs"),
        ("%(odd)s", "SQL"),
    ],
)
def test_statement_is_named_by_what_it_does_and_to_which_table(query: str, name: str) -> None:
    assert _described(query)[0] == name


def test_quoted_values_are_left_out() -> None:
    _, told = _described("ALTER ROLE app PASSWORD 'it''s secret'  -- 'and' this")
    assert told["db.query.text"] == "ALTER ROLE app PASSWORD '?' -- '?' this"
