"""Every statement on a filled table reads an index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from api.clicks.records import OrphanRecord
from api.core.database.routing import Database
from api.core.evictions import Evictions
from api.domains.service import DomainService
from api.orphans.service import OrphanQuery, OrphanService

# Two hundred hosts of as many workspaces, and a host of nobody, for ten days.
_FILL = text(
    """
    INSERT INTO orphan_visits (slot, workspace_id, host, kind, quarter, visits)
    SELECT w % 1024, w, 'host-' || w, kind, timestamptz '2026-01-01Z' + q * interval '15 min', 1
    FROM generate_series(0, 200) AS w, generate_series(1, 4) AS kind, generate_series(0, 959) AS q
    WHERE (w + q) % 4 = 0
    """
)


@pytest.fixture
def filled(db: Database) -> Iterator[None]:
    with db.write(0) as session:
        session.execute(_FILL)
        session.execute(text("ANALYZE orphan_visits"))
    yield
    with db.write(0) as session:
        session.execute(text("TRUNCATE orphan_visits"))
        session.execute(text("ANALYZE orphan_visits"))


@contextmanager
def recorded() -> Iterator[list[tuple[str, Any]]]:
    """The statements on the counts that are executed within."""
    statements: list[tuple[str, Any]] = []

    def note(
        connection: Connection, cursor: Any, statement: str, parameters: Any, *rest: Any
    ) -> None:
        if "orphan_visits" in statement:
            statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("host", [None, "host-7", ""])
@pytest.mark.parametrize("kind", [None, "gone"])
def test_questions_read_an_index(db: Database, host: str | None, kind: str | None) -> None:
    domains = DomainService(db, Evictions(None, 1.0), b"a secret of the tests only", "here.example")
    query = OrphanQuery(
        start=datetime(2026, 1, 3, tzinfo=UTC),
        end=datetime(2026, 1, 5, tzinfo=UTC),
        host=host,
        kind=kind,
    )
    with recorded() as statements:
        OrphanService(db, domains).orphan_visits(7, query)

    assert len(statements) == 2
    with db.read(0) as session:
        for statement, parameters in statements:
            rows = session.connection().exec_driver_sql(f"EXPLAIN {statement}", parameters)
            plan = "\n".join(row[0] for row in rows)
            assert "Seq Scan" not in plan, plan
            assert "orphan_visits" in plan, plan


@pytest.mark.usefixtures("filled")
def test_visits_are_added_by_the_primary_key(db: Database) -> None:
    moment = int(datetime(2026, 1, 3, tzinfo=UTC).timestamp() * 1000)
    lines = [OrphanRecord(moment, 1, f"host-{number}", number, 1) for number in range(2_500)]
    with recorded() as statements, db.write(0) as session:
        OrphanService.add(session, lines + lines[:5])

    ((statement, parameters),) = statements
    with db.write(0) as session:
        rows = session.connection().exec_driver_sql(f"EXPLAIN {statement}", parameters)
        plan = "\n".join(row[0] for row in rows)
    assert "Conflict Arbiter Indexes: pk_orphan_visits" in plan, plan


def test_writers_of_the_same_rows_do_not_lock_each_other_out(db: Database) -> None:
    moment = int(datetime(2026, 1, 3, tzinfo=UTC).timestamp() * 1000)
    lines = [OrphanRecord(moment, 1, f"host-{number}", number, 1) for number in range(50)]
    seen: list[list[Any]] = []
    for given in (lines, lines[::-1]):
        with recorded() as statements, db.write(0) as session:
            OrphanService.add(session, given)
        seen.append(statements)

    assert seen[0] == seen[1]
