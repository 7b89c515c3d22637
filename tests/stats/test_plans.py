"""Every statement on a filled table goes by the primary key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from api.core.database.routing import Database
from api.stats.service import Compaction
from tests.stats.samples import count, make_click, new_link, new_workspace, stats_of, whole_year

_FILL = text(
    """
    INSERT INTO click_counts (slot, subject, subject_id, grain, start, bot, part,
        workspace_id, clicks, visitors)
    SELECT link % 1024, 1, link, grain, timestamptz '2026-01-01Z'
        + period * (CASE grain WHEN 0 THEN interval '15 min' ELSE interval '1 day' END),
        false, part, 1, 1, '\\x0000000000'
    FROM generate_series(1, 500) AS link, generate_series(0, 1) AS grain,
        generate_series(0, 29) AS period, generate_series(1, 2) AS part
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
        session.execute(text("DELETE FROM click_counts WHERE subject = 1 AND subject_id <= 500"))


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
def test_no_question_scans_the_counts(db: Database) -> None:
    link, workspace = new_link(), new_workspace()
    count(db, [make_click(link_id=link, workspace_id=workspace) for _ in range(2)])
    with recorded() as statements:
        for bots in ("exclude", "include"):
            for timezone in ("UTC", "Asia/Kathmandu"):
                query = whole_year(group_by="country", bots=bots, timezone=timezone)
                stats_of(db).link_stats(workspace, link, query)
                stats_of(db).workspace_stats(workspace, query)
    # In a zone of another midnight, months are days of UTC and a few quarters.
    assert len(statements) == 2 * 2 * (2 + 3)
    for plan in plans(db, statements):
        assert "Seq Scan" not in plan, plan
        assert "pk_click_counts" in plan, plan


@pytest.mark.usefixtures("filled")
def test_no_compaction_scans_the_counts(db: Database) -> None:
    with db.write(0) as session:
        session.execute(
            text("INSERT INTO click_count_progress VALUES (-1, 10) ON CONFLICT (slot) DO NOTHING")
        )
    count(db, [make_click(link_id=new_link()) for _ in range(20)])
    with recorded() as statements:
        Compaction(db, min_age_seconds=0)()
    assert statements
    for plan in plans(db, statements):
        assert "Seq Scan on click_counts" not in plan, plan
