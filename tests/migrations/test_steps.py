"""Each revision goes up, down and up again, and keeps what is in the tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from api.core.database.lineages import BASE, LINEAGES, current_revision, move, revisions
from config.settings import Settings
from tests.contracts.scratch import scratch_database

# Rows that a revision changes, as they are before it, and a question with its answers before and
# after.
_FILLED: dict[str, tuple[str, str, list[Any], list[Any]]] = {
    "0005_shard": (
        "INSERT INTO link_totals (slot, link_id, clicks, last_clicked_at)"
        " VALUES (1, 1, 100, now())",
        "SELECT clicks FROM link_totals",
        [100],
        [100],
    ),
    "0007_shard": (
        "INSERT INTO click_horizons VALUES (0, 5, now());"
        "INSERT INTO click_count_progress VALUES (0, 9);"
        "INSERT INTO ingested_segments (slot, segment_id) VALUES (3, 'a');"
        "INSERT INTO click_counts (slot, subject, subject_id, grain, start, bot, part,"
        " workspace_id, clicks, visitors) SELECT 0, subject, 1, 0, now(), false, 1, 1, 1, ''"
        " FROM generate_series(1, 4) AS subject",
        "SELECT slot FROM click_counts UNION ALL SELECT slot FROM click_horizons"
        " UNION ALL SELECT slot FROM click_count_progress",
        [0, 0, 0, 0, 0, 0],
        [-1, -1, -1, -1, -1, 0],
    ),
}


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """To an empty database."""
    with scratch_database(database_url) as url:
        loaded = Settings.load({"DATABASE_URL": url})
        engine = create_engine(str(loaded.database_url), poolclass=NullPool)
        with engine.connect() as connection:
            yield connection


def shape(connection: Connection) -> dict[str, Any]:
    """Every table with its columns, indexes and constraints."""
    seen = inspect(connection)
    found = {
        table: (
            sorted((column["name"], str(column["type"])) for column in seen.get_columns(table)),
            sorted(str(index["name"]) for index in seen.get_indexes(table)),
            sorted(str(check["name"]) for check in seen.get_check_constraints(table)),
            seen.get_pk_constraint(table)["constrained_columns"],
        )
        for table in seen.get_table_names()
    }
    connection.rollback()
    return found


def answers(connection: Connection, question: str) -> list[Any]:
    """The first column, in order."""
    found = sorted(connection.scalars(text(question)))
    connection.rollback()
    return found


@pytest.mark.parametrize("lineage", LINEAGES)
def test_each_revision_goes_up_down_and_up_again(connection: Connection, lineage: str) -> None:
    before = BASE
    for revision in revisions(lineage):
        fill, question, old, new = _FILLED.get(revision, ("SELECT 1", "SELECT 1", [1], [1]))
        connection.execute(text(fill))
        connection.commit()
        assert answers(connection, question) == old
        without = shape(connection)
        move(connection, lineage, revision)
        there = shape(connection)
        assert answers(connection, question) == new
        move(connection, lineage, before)
        left = shape(connection)
        # Alembic's own table stays.
        assert {name: left[name] for name in without} == without
        assert answers(connection, question) == old
        move(connection, lineage, revision)
        assert shape(connection) == there
        assert answers(connection, question) == new
        assert current_revision(connection, lineage) == revision
        connection.rollback()
        before = revision
