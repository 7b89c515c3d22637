"""Migrations: each lineage goes up, down and up again, and gives the tables of the models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, inspect, text

from api.core.database.lineages import LINEAGES, newest_revision, revisions
from api.core.database.migrate import differences, migrate, pending
from api.models import METADATA
from config.settings import Settings
from tests.contracts.scratch import scratch_database


def silent(line: str) -> None:
    """Report nothing."""


@pytest.fixture
def scratch(database_url: str) -> Iterator[Settings]:
    """An empty database."""
    with scratch_database(database_url) as url:
        yield Settings.load({"DATABASE_URL": url})


def tables(settings: Settings) -> set[str]:
    engine = create_engine(str(settings.database_url))
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_each_lineage_goes_up_down_and_up_again(scratch: Settings) -> None:
    assert pending(scratch) == list(LINEAGES)
    migrate(scratch, report=silent)
    there = tables(scratch)
    assert pending(scratch) == []
    migrate(scratch, report=silent, target="base")
    assert pending(scratch) == list(LINEAGES)
    ours = {name for metadata in METADATA.values() for name in metadata.tables}
    assert not tables(scratch) & ours
    migrate(scratch, report=silent)
    assert tables(scratch) == there
    assert differences(scratch, METADATA) == []


def test_migrating_twice_says_that_nothing_was_to_do(scratch: Settings) -> None:
    said: list[str] = []
    migrate(scratch, report=said.append)
    steps = [f"{lineage}: {revision}" for lineage in LINEAGES for revision in revisions(lineage)]
    ends = [f"{lineage}: empty -> {newest_revision(lineage)}" for lineage in LINEAGES]
    assert [line for line in said if not line.endswith(" s")] == ends
    assert [line.rsplit(" ", 2)[0] for line in said if line.endswith(" s")] == steps
    said.clear()
    migrate(scratch, report=said.append)
    assert said == [f"{lineage}: up to date" for lineage in LINEAGES]


def test_models_match_the_migrated_tables(scratch: Settings) -> None:
    migrate(scratch, report=silent)
    assert differences(scratch, METADATA) == []


def test_a_changed_table_is_noticed(scratch: Settings) -> None:
    migrate(scratch, report=silent)
    engine = create_engine(str(scratch.database_url))
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE links DROP COLUMN title CASCADE"))
        connection.execute(text("DROP INDEX ix_links_address"))
    engine.dispose()
    found = "\n".join(differences(scratch, METADATA))
    assert "title" in found
    assert "ix_links_address" in found


def test_every_table_is_in_one_lineage() -> None:
    names = [name for metadata in METADATA.values() for name in metadata.tables]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("table", METADATA["shard"].sorted_tables, ids=lambda table: table.name)
def test_slot_leads_the_primary_key_of_every_shard_table(table: object) -> None:
    columns = [column.name for column in table.primary_key.columns]  # type: ignore[attr-defined]
    assert columns[0] == "slot"


@pytest.mark.parametrize("table", METADATA["shard"].sorted_tables, ids=lambda table: table.name)
def test_slot_is_in_every_unique_index_of_a_shard_table(table: object) -> None:
    for index in table.indexes:  # type: ignore[attr-defined]
        assert not index.unique or "slot" in index.columns
