"""The schema keeps to Citus's rules, and Citus is asked in the form that it documents.

Citus cannot be installed where the tests run: a double with its names refuses what it refuses.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, exc, text
from sqlalchemy.pool import NullPool

from api.core.database.citus import ANCHOR, KEPT_BY_TRIGGERS, distribute, placings
from api.core.database.migrate import MigrationError, migrate
from api.models import METADATA
from config.settings import Settings
from tests.contracts.scratch import scratch_database
from tests.scripting import run_script

DOUBLE = Path(__file__).with_name("citus_double.sql").read_text()
SHARD_TABLES = sorted(METADATA["shard"].tables)
# Citus documentation, "Citus Utility Functions".
REFERENCE = r"SELECT create_reference_table\('[a-z_]+'\)"
DISTRIBUTED = r"SELECT create_distributed_table\('[a-z_]+', 'slot', colocate_with => '[a-z_]+'\)"


def silent(line: str) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def migrated(database_url: str) -> Iterator[str]:
    """A migrated database that nobody changes."""
    with scratch_database(database_url) as url:
        migrate(Settings.load({"DATABASE_URL": url}), report=silent)
        yield url


@contextmanager
def connected_to_copy(migrated: str) -> Iterator[Connection]:
    with scratch_database(migrated, like=migrated.rpartition("/")[2]) as url:
        loaded = Settings.load({"DATABASE_URL": url})
        engine = create_engine(str(loaded.database_url), poolclass=NullPool)
        with engine.connect() as connection:
            yield connection


@pytest.fixture(scope="module")
def catalogue(migrated: str) -> Iterator[Connection]:
    """To a copy that is only asked."""
    with connected_to_copy(migrated) as connection:
        yield connection


@pytest.fixture
def citus(migrated: str) -> Iterator[Connection]:
    """To a copy that passes for a coordinator."""
    with connected_to_copy(migrated) as connection:
        connection.connection.cursor().execute(DOUBLE)
        connection.execute(text("INSERT INTO pg_dist_node VALUES (0, 'localhost', 5432)"))
        connection.commit()
        yield connection


def run(url: str) -> subprocess.CompletedProcess[str]:
    """The script, on a database."""
    return run_script("migrate", "--distribute", "citus", env=os.environ | {"DATABASE_URL": url})


def made(connection: Connection, columns: str = "table_name::text, citus_table_type") -> list[str]:
    found = connection.execute(text(f"SELECT {columns} FROM made ORDER BY 1")).all()
    connection.rollback()
    return [" ".join(map(str, row)) for row in found]


def test_citus_is_asked_in_its_documented_form() -> None:
    asked = [placing.sql for placing in placings(METADATA)]
    assert all(re.fullmatch(f"{REFERENCE}|{DISTRIBUTED}", sql) for sql in asked), asked
    assert len(set(asked)) == len(asked)
    assert f"SELECT create_distributed_table('{ANCHOR}', 'slot', colocate_with => 'none')" in asked
    assert (
        f"SELECT create_distributed_table('clicks', 'slot', colocate_with => '{ANCHOR}')" in asked
    )
    assert "SELECT create_reference_table('workspaces')" in asked


def test_every_shard_table_is_distributed_and_no_table_of_the_directory() -> None:
    kinds = {placing.table: placing.kind for placing in placings(METADATA)}
    assert {name for name, kind in kinds.items() if kind == "distributed"} == set(SHARD_TABLES)
    assert all(kinds.get(name) != "distributed" for name in METADATA["directory"].tables)


def test_citus_takes_every_table_that_it_is_asked_to_take(citus: Connection) -> None:
    citus.exec_driver_sql("CREATE TABLE clicks_2026_11 (LIKE clicks INCLUDING DEFAULTS)")
    citus.exec_driver_sql(
        "ALTER TABLE clicks ATTACH PARTITION clicks_2026_11"
        " FOR VALUES FROM ('2026-11-01') TO ('2026-12-01')"
    )
    citus.commit()
    said: list[str] = []
    distribute(citus, METADATA, said.append)
    wanted = [f"{placing.table} {placing.kind}" for placing in placings(METADATA)]
    assert made(citus) == sorted([*wanted, "clicks_2026_11 distributed"])
    assert len(said) == len(wanted) + 1
    # One group: what is of one slot is on one node.
    groups = made(citus, "colocation_id, citus_table_type")
    assert len({group for group in groups if group.endswith("distributed")}) == 1


def test_a_run_goes_on_where_one_ended(citus: Connection) -> None:
    first = [placing.sql for placing in placings(METADATA)][:3]
    for sql in first:
        citus.exec_driver_sql(sql)
    citus.commit()
    said: list[str] = []
    distribute(citus, METADATA, said.append)
    assert not [line for line in said if f"SELECT {line.removeprefix('citus: ')}" in first]
    everything = made(citus)
    said.clear()
    distribute(citus, METADATA, said.append)
    assert (said, made(citus)) == (["citus: up to date"], everything)


def test_the_script_distributes_what_it_has_migrated(citus: Connection) -> None:
    url = citus.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    done = run(url)
    assert done.returncode == 0, done.stderr
    assert "shard: up to date\n" in done.stdout
    assert "citus: create_reference_table('workspaces')\n" in done.stdout
    assert done.stdout.endswith("citus: up to date\n")
    assert "links distributed" in made(citus)


def test_a_table_that_is_distributed_otherwise_is_named_with_the_way_out(
    citus: Connection,
) -> None:
    citus.exec_driver_sql("INSERT INTO made VALUES ('links', 'distributed', 'id', 9)")
    citus.commit()
    with pytest.raises(MigrationError, match=r"undistribute_table\('links'\)"):
        distribute(citus, METADATA, silent)


def test_without_citus_the_way_to_install_it_is_told(migrated: str) -> None:
    done = run(migrated)
    assert done.returncode == 1
    assert "CREATE EXTENSION citus" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_coordinator_that_citus_does_not_know_is_told_of(citus: Connection) -> None:
    citus.exec_driver_sql("TRUNCATE pg_dist_node")
    citus.commit()
    with pytest.raises(MigrationError, match="citus_set_coordinator_host"):
        distribute(citus, METADATA, silent)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("CREATE UNIQUE INDEX planted ON links (domain, slug)", "planted lacks"),
        (
            "ALTER TABLE link_totals ADD CONSTRAINT planted"
            " FOREIGN KEY (slot, link_id) REFERENCES links (slot, id) ON DELETE SET NULL",
            "planted",
        ),
        (
            "ALTER TABLE domains ADD COLUMN planted integer GENERATED ALWAYS AS IDENTITY",
            "identity columns",
        ),
        (
            "ALTER TABLE domains ADD COLUMN planted bigint REFERENCES users ON DELETE CASCADE",
            "planted",
        ),
        (
            "CREATE TRIGGER planted BEFORE INSERT ON links"
            " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "has triggers",
        ),
    ],
)
def test_a_table_against_the_rules_is_refused(
    citus: Connection, change: str, complaint: str
) -> None:
    citus.exec_driver_sql(change)
    citus.commit()
    with pytest.raises(exc.DBAPIError, match=complaint):
        distribute(citus, METADATA, silent)


def test_what_triggers_keep_from_being_copied_is_known(catalogue: Connection) -> None:
    triggers = catalogue.execute(
        text(
            "SELECT tgrelid::regclass::text, pg_get_functiondef(tgfoid) FROM pg_trigger"
            " WHERE NOT tgisinternal AND tgrelid::regclass::text = ANY (:names)"
        ),
        {"names": list(METADATA["directory"].tables)},
    ).all()
    written = catalogue.scalars(
        text("SELECT prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
    ).all()
    into = {name for body in written for name in re.findall(r"INSERT INTO (\w+)", body)}
    assert {table for table, _ in triggers} | into == KEPT_BY_TRIGGERS


@pytest.mark.parametrize("name", SHARD_TABLES)
def test_slot_is_in_every_key_of_a_shard_table(catalogue: Connection, name: str) -> None:
    """As PostgreSQL has it, not as the models say: primary key, unique indexes, foreign keys."""
    unique = catalogue.execute(
        text(
            "SELECT indexrelid::regclass::text, ARRAY(SELECT attname::text FROM pg_attribute"
            " WHERE attrelid = indrelid AND attnum = ANY (indkey)) FROM pg_index"
            " WHERE indrelid = CAST(:name AS regclass) AND indisunique"
        ),
        {"name": name},
    ).all()
    assert unique, "a distributed table has a primary key"
    assert [index for index, columns in unique if "slot" not in columns] == []
    foreign = catalogue.execute(
        text(
            "SELECT conname, confrelid::regclass::text, pg_get_constraintdef(oid)"
            " FROM pg_constraint WHERE contype = 'f' AND conrelid = CAST(:name AS regclass)"
        ),
        {"name": name},
    ).all()
    for constraint, target, definition in foreign:
        assert target in SHARD_TABLES, constraint
        assert re.search(r"\(slot, .*REFERENCES \w+\(slot, ", definition), definition


@pytest.mark.parametrize("name", SHARD_TABLES)
def test_slot_is_a_plain_number_of_one_type(catalogue: Connection, name: str) -> None:
    """Tables of one co-location group have one type; a generated column cannot distribute."""
    found = catalogue.execute(
        text(
            "SELECT format_type(atttypid, NULL), attgenerated::text, atthasdef FROM pg_attribute"
            " WHERE attrelid = CAST(:name AS regclass) AND attname = 'slot'"
        ),
        {"name": name},
    ).one()
    assert tuple(found) == ("smallint", "", False)
