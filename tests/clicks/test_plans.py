"""No request and no consumer reads raw clicks from one end to the other, however many there are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, event, text

from api.clicks.housekeeping import forget_segments
from api.clicks.ingest import Ingest
from api.clicks.months import insert_month, partition_name
from api.core.database.routing import Database
from api.identity.service import IdentityService
from api.stats.service import Compaction
from tests.caller import Caller
from tests.factories.clicks import a_click, a_segment

CLICKS, LINKS = 120_000, 300
MONTHS = [datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)]

# One link has a third of all, five share another third, and all share the rest.
FILL = text(
    """
    INSERT INTO clicks (slot, link_id, clicked_at, id, workspace_id, visitor, bot, country)
    SELECT link >> 12 & 1023, link, timestamptz '2026-03-01Z' + n * interval '43 s', n,
        :workspace, n % 5000, n % 20 = 0, 'DE'
    FROM (
        SELECT n, (CAST(:links AS bigint[]))[
            CASE n % 3 WHEN 0 THEN 1 WHEN 1 THEN 2 + n / 3 % 5 ELSE 1 + n / 3 % :count END
        ] AS link
        FROM generate_series(1, :clicks) AS n
    ) AS click
    """
)
# Few are older than what is remembered, as in an installation that forgets every hour.
SEGMENTS = text(
    """
    INSERT INTO ingested_segments (slot, segment_id, ingested_at)
    SELECT n % 1024, 'segment of the plans ' || n, now() - n * interval '130 s'
    FROM generate_series(1, 20000) AS n
    """
)


class Filled(NamedTuple):
    """A workspace whose links were clicked for two months."""

    caller: Caller
    hottest: int
    rare: int


@pytest.fixture(scope="module")
def filled(app: Flask, db: Database, identity: IdentityService) -> Iterator[Filled]:
    caller = Caller.of_new_workspace(app, identity)
    links = [int(caller.create_link(f"https://example.com/{n}")["id"]) for n in range(LINKS)]
    for month in MONTHS:
        with db.write(0) as session:
            insert_month(session, month)
    with db.write(0) as session:
        values = {"workspace": caller.workspace_id, "links": links, "count": LINKS}
        values |= {"clicks": CLICKS}
        session.execute(FILL, values)
        session.execute(SEGMENTS)
        session.execute(text("ANALYZE clicks, ingested_segments"))
        full = text("SELECT count(DISTINCT tableoid) FROM clicks WHERE workspace_id = :workspace")
        assert session.scalar(full, {"workspace": caller.workspace_id}) == len(MONTHS)
    yield Filled(caller, links[0], links[-1])
    with db.write(0) as session:
        for month in MONTHS:
            session.execute(text(f"TRUNCATE {partition_name(month)}"))
        session.execute(text("DELETE FROM ingested_segments WHERE segment_id LIKE 'segment of %'"))


@contextmanager
def recorded() -> Iterator[list[tuple[str, Any]]]:
    """The statements about clicks that are executed within."""
    statements: list[tuple[str, Any]] = []

    def note(
        connection: Connection, cursor: Any, statement: str, parameters: Any, *rest: Any
    ) -> None:
        if re.search(r"\bclicks\b|ingested_segments", statement):
            statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def scans(db: Database, statements: list[tuple[str, Any]]) -> list[str]:
    """The plans that read a filled month, or all segments, whole."""
    guarded = [*map(partition_name, MONTHS), "ingested_segments"]
    found = []
    with db.write(0) as session:
        for statement, parameters in statements:
            if not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", statement):
                continue
            rows = session.connection().exec_driver_sql(f"EXPLAIN {statement}", parameters)
            plan = "\n".join(row[0] for row in rows)
            if any(f"Seq Scan on {table}" in plan for table in guarded):
                found.append(f"{statement}\n{plan}")
    return found


@pytest.mark.parametrize("link", ["hottest", "rare"])
def test_list_of_clicks_reads_the_index(db: Database, filled: Filled, link: str) -> None:
    path = f"/links/{getattr(filled, link)}/clicks?limit=50"
    with recorded() as statements:
        page = filled.caller.get(path)
        assert page.status_code == 200, page.text
        cursor = (page.json or {})["next_cursor"]
        assert cursor is not None
        filled.caller.get(f"{path}&cursor={cursor}")
    assert any(re.search(r"FROM clicks\b", statement) for statement, _ in statements)
    assert scans(db, statements) == []


def test_a_page_of_clicks_reads_no_more_than_its_rows(db: Database, filled: Filled) -> None:
    """The hottest link has a third of all: its newest click is not found by sorting them."""
    with recorded() as statements:
        filled.caller.get(f"/links/{filled.hottest}/clicks?limit=50")
    lists = [statement for statement in statements if re.search(r"FROM clicks\b", statement[0])]
    with db.write(0) as session:
        for statement, parameters in lists:
            rows = session.connection().exec_driver_sql(
                f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", parameters
            )
            (plan,) = rows.scalar_one()
            assert most_rows(plan["Plan"]) <= 51, plan


def most_rows(plan: dict[str, Any]) -> int:
    """The most rows that any part of a plan gave."""
    return max([plan["Actual Rows"], *(most_rows(part) for part in plan.get("Plans", ()))])


@pytest.mark.parametrize("path", ["/links/{link}/stats", "/stats"])
@pytest.mark.parametrize(
    "query", ["", "interval=hour", "group_by=country", "group_by=utm_content&bots=include"]
)
def test_questions_read_no_raw_clicks(db: Database, filled: Filled, path: str, query: str) -> None:
    period = "from=2026-03-01T00:00:00Z&to=2026-04-30T00:00:00Z"
    with recorded() as statements:
        address = path.format(link=filled.hottest)
        response = filled.caller.get(f"{address}?{period}&{query}")
        assert response.status_code == 200, response.text
    assert [one for one, _ in statements if re.search(r"FROM clicks\b", one)] == []
    assert scans(db, statements) == []


@pytest.mark.parametrize(
    "work",
    [
        lambda db, ingest, link: ingest.ingest([a_segment([a_click(link)] * 20)]),
        lambda db, ingest, link: forget_segments(db),
        lambda db, ingest, link: Compaction(db, min_age_seconds=0)(),
    ],
    ids=["ingest", "forget segments", "compact"],
)
def test_consumers_scan_no_clicks(
    db: Database, ingest: Ingest, filled: Filled, work: Callable[[Database, Ingest, int], Any]
) -> None:
    with recorded() as statements:
        work(db, ingest, filled.rare)
    assert statements
    assert scans(db, statements) == []
