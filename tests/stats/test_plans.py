"""Every statement on a filled table goes by the primary key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from api.core.database.routing import Database
from tests.stats.samples import count, make_click, new_link, new_workspace, stats_of, whole_year

_FILL = text(
    """
    INSERT INTO click_counts
    SELECT link % 1024, 1, link, dimension, timestamptz '2026-01-01Z' + quarter * interval '15 min',
        false, dimension::text, 1, '\\x0000'
    FROM generate_series(1, 200) AS link, generate_series(0, 11) AS dimension,
        generate_series(0, 39) AS quarter
    ON CONFLICT DO NOTHING
    """
)


@pytest.fixture(scope="module")
def filled(db: Database) -> Iterator[None]:
    with db.write(0) as session:
        session.execute(_FILL)
        session.execute(text("ANALYZE click_counts"))
    yield
    with db.write(0) as session:
        session.execute(text("DELETE FROM click_counts WHERE subject = 1 AND subject_id <= 200"))


@contextmanager
def recorded() -> Iterator[list[tuple[str, Any]]]:
    """The statements on the counts that are executed within."""
    statements: list[tuple[str, Any]] = []

    def note(
        connection: Connection, cursor: Any, statement: str, parameters: Any, *rest: Any
    ) -> None:
        if "click_counts" in statement:
            statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def plans(db: Database, statements: list[tuple[str, Any]]) -> list[str]:
    found = []
    with db.write(0) as session:
        for statement, parameters in statements:
            rows = session.connection().exec_driver_sql(f"EXPLAIN {statement}", parameters)
            found.append("\n".join(row[0] for row in rows))
    return found


@pytest.mark.usefixtures("filled")
def test_no_statement_scans_the_counts(db: Database) -> None:
    link, workspace = new_link(), new_workspace()
    clicks = [make_click(link_id=link, workspace_id=workspace) for _ in range(2)]
    with recorded() as statements:
        for click in clicks:
            count(db, [click])
        for bots in ("exclude", "include"):
            query = whole_year(group_by="country", bots=bots)
            stats_of(db).link_stats(workspace, link, query)
            stats_of(db).workspace_stats(workspace, query)
    assert len(statements) == 3 + 4 * 3
    for plan in plans(db, statements):
        assert "Seq Scan" not in plan, plan
        assert "Index" in plan or "Conflict Arbiter Indexes: pk_click_counts" in plan, plan
