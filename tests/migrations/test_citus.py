"""The schema can be distributed by Citus, and what is asked of it is what it documents.

Citus itself cannot be installed where these tests run. In its place stand tables and functions of
its names that note what they are called with.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Table, UniqueConstraint, create_engine, text
from sqlalchemy.pool import NullPool

from api.core.database.citus import distribute, statements
from api.core.database.migrate import MigrationError
from api.models import METADATA
from config.settings import Settings
from tests.contracts.scratch import scratch_database

ROOT = Path(__file__).resolve().parents[2]
SHARD, DIRECTORY = METADATA["shard"], METADATA["directory"]
_FUNCTIONS = """
CREATE TABLE pg_dist_partition (logicalrelid regclass);
CREATE TABLE called (name text, column_name text, beside text);
CREATE FUNCTION create_reference_table(table_name regclass) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO called VALUES (table_name::text);
       INSERT INTO pg_dist_partition VALUES (table_name) $$;
CREATE FUNCTION create_distributed_table(
    table_name regclass, distribution_column text, colocate_with text DEFAULT 'default'
) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO called VALUES (table_name::text, distribution_column, colocate_with);
       INSERT INTO pg_dist_partition VALUES (table_name) $$;
"""


@pytest.mark.parametrize("table", SHARD.sorted_tables, ids=lambda table: table.name)
def test_keys_of_a_distributed_table_contain_the_slot(table: Table) -> None:
    assert "slot" in table.primary_key.columns
    assert table.columns["slot"].computed is None
    for index in table.indexes:
        assert not index.unique or "slot" in index.columns
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            assert "slot" in constraint.columns
    for key in table.foreign_key_constraints:
        assert "slot" in key.column_keys
        # To the same column of the other: rows of both are then on one node.
        places = {element.parent.name: element.column.name for element in key.elements}
        assert places["slot"] == "slot"


def test_no_table_of_one_kind_refers_to_one_of_the_other() -> None:
    for here, there in ((SHARD, DIRECTORY), (DIRECTORY, SHARD)):
        for table in here.sorted_tables:
            for key in table.foreign_keys:
                assert key.column.table.name not in there.tables


def test_each_table_is_named_once_parents_first() -> None:
    said = list(statements(METADATA))
    form = re.compile(
        r"SELECT create_reference_table\('(\w+)'\)"
        r"|SELECT create_distributed_table\('(\w+)', 'slot'(?:, colocate_with => '(\w+)')?\)"
    )
    matches = [form.fullmatch(statement) for statement in said]
    assert all(matches)
    names = [match[1] or match[2] for match in matches if match]
    assert sorted(names) == sorted([*SHARD.tables, *DIRECTORY.tables])
    for metadata in METADATA.values():
        for table in metadata.sorted_tables:
            for key in table.foreign_keys:
                parent = key.column.table.name
                assert parent == table.name or names.index(parent) < names.index(table.name)
    beside = {match[3] for match in matches if match and match[3]}
    assert beside == {SHARD.sorted_tables[0].name}
    assert list(statements(METADATA, names)) == []


@pytest.fixture
def migrated(database_url: str) -> Iterator[str]:
    with scratch_database(database_url) as url:
        environ = os.environ | {"DATABASE_URL": url}
        script = [sys.executable, str(ROOT / "scripts/migrate")]
        subprocess.run(script, env=environ, check=True, capture_output=True)
        yield url


def _connection(url: str) -> Connection:
    engine = create_engine(
        str(Settings.load({"DATABASE_URL": url}).database_url), poolclass=NullPool
    )
    return engine.connect()


def test_without_the_extension_it_is_said_how_to_get_it(migrated: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/migrate"), "--distribute", "citus"],
        env=os.environ | {"DATABASE_URL": migrated},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "CREATE EXTENSION citus" in done.stderr
    assert done.stderr.count("\n") == 1


def test_tables_are_distributed_once(migrated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with _connection(migrated) as connection:
        connection.execute(text(_FUNCTIONS))
        connection.commit()
        with pytest.raises(MigrationError):
            distribute(connection, METADATA, print)
        monkeypatch.setattr("api.core.database.citus._INSTALLED", text("SELECT 1"))
        said: list[str] = []
        distribute(connection, METADATA, said.append)
        assert len(said) == len(SHARD.tables) + len(DIRECTORY.tables)
        called = connection.execute(text("SELECT * FROM called WHERE name = 'clicks'")).one()
        assert tuple(called) == ("clicks", "slot", SHARD.sorted_tables[0].name)
        connection.rollback()
        said.clear()
        distribute(connection, METADATA, said.append)
        assert said == []
