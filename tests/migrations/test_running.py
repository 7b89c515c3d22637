"""scripts/migrate as operators meet it: several databases, locks in the way, a death in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import create_engine, text

from api.core.database import migrate as migrating
from api.core.database.lineages import (
    HEAD,
    current_revision,
    move,
    newest_revision,
    revisions,
)
from api.core.database.migrate import MigrationError, differences, migrate, pending
from api.models import METADATA
from config.settings import Settings
from tests.contracts.scratch import scratch_database
from tests.scripting import run_script

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def urls(database_url: str) -> Iterator[tuple[str, str]]:
    """Two empty databases."""
    with scratch_database(database_url) as main, scratch_database(database_url) as second:
        yield main, second


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The script, in an environment of its own."""
    return run_script("migrate", *arguments, env=os.environ | environ)


def test_every_database_is_migrated(urls: tuple[str, str]) -> None:
    places = {"DATABASE_URL": urls[0], "SHARD_URLS": f"second={urls[1]}"}
    done = run(**places)
    assert done.returncode == 0, done.stderr
    ends = [line for line in done.stdout.splitlines() if "->" in line]
    newest = newest_revision("shard")
    assert ends == [
        f"directory: empty -> {newest_revision('directory')}",
        f"shard: empty -> {newest}",
        f"shard second: empty -> {newest}",
    ]
    assert pending(Settings.load(places)) == []
    again = json.loads(run("--json", **places).stdout)
    assert again == {
        "lines": ["directory: up to date", "shard: up to date", "shard second: up to date"],
        "steps": [],
        "failure": None,
    }
    checked = run("--check", **places)
    assert (checked.returncode, checked.stdout) == (
        0,
        "nothing to do: schema and code agree\n",
    )


def test_a_shard_that_the_directory_names_is_migrated(urls: tuple[str, str]) -> None:
    settings = Settings.load({"DATABASE_URL": urls[0]})
    migrate(settings, report=lambda line: None)
    engine = create_engine(str(settings.database_url))
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO shards VALUES ('second', :url)"), {"url": urls[1]})
    engine.dispose()
    assert pending(settings) == ["shard second"]
    migrate(settings, report=lambda line: None)
    assert pending(settings) == []


def test_a_shard_that_is_away_keeps_no_other_from_being_migrated(urls: tuple[str, str]) -> None:
    away = "postgresql://nobody@127.0.0.1:1/nothing"
    done = run(DATABASE_URL=urls[0], SHARD_URLS=f"away={away},second={urls[1]}")
    assert done.returncode == 1
    assert "shard away: FAILED: " in done.stdout
    assert f"shard second: empty -> {newest_revision('shard')}" in done.stdout
    assert done.stderr == "Error: Not reached or not done: the shards away.\n"


def test_what_each_database_lacks_is_told_beforehand(urls: tuple[str, str]) -> None:
    settings = Settings.load({"DATABASE_URL": urls[0]})
    migrate(settings, report=lambda line: None)
    engine = create_engine(str(settings.database_url))
    with engine.connect() as connection:
        move(connection, "shard", "0005_shard")
    away = "postgresql://nobody@127.0.0.1:1/nothing"
    done = run("--dry-run", DATABASE_URL=urls[0], SHARD_URLS=f"away={away},second={urls[1]}")
    assert done.returncode == 1
    lacks = ", ".join(revisions("shard"))
    main, lost, second = done.stdout.splitlines()
    assert main == f"shard: behind by {lacks.partition('0005_shard, ')[2]}"
    assert lost.startswith("shard away: FAILED: ")
    assert second == f"shard second: behind by {lacks}"
    with engine.connect() as connection:
        assert current_revision(connection, "shard") == "0005_shard"
    engine.dispose()


def test_a_pooler_is_gone_round(urls: tuple[str, str]) -> None:
    pooler = "postgresql://nobody@127.0.0.1:1/pooler"
    environ = {
        "DATABASE_URL": pooler,
        "MIGRATION_DATABASE_URL": urls[0],
        "SHARD_URLS": f"second={pooler}",
        "MIGRATION_SHARD_URLS": f"second={urls[1]}",
    }
    done = run("--json", **environ)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["lines"][-1] == f"shard second: empty -> {newest_revision('shard')}"
    last = outcome["steps"][-1]
    assert (last["database"], last["revision"]) == ("shard second", newest_revision("shard"))
    assert len(outcome["steps"]) == len(revisions("directory")) + 2 * len(revisions("shard"))
    assert 0 < sum(step["seconds"] for step in outcome["steps"]) < 60


def test_a_database_of_newer_code_is_left_as_it_is(urls: tuple[str, str]) -> None:
    settings = Settings.load({"DATABASE_URL": urls[0]})
    migrate(settings, report=lambda line: None)
    engine = create_engine(str(settings.database_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version_shard SET version_num = '9999_shard'"))
    engine.dispose()
    said: list[str] = []
    migrate(settings, report=said.append)
    assert said[-1] == "shard: at 9999_shard, of newer code than this: left as it is"
    assert pending(settings) == []


def test_the_sql_can_be_had_without_a_database() -> None:
    done = run("--sql", "shard", DATABASE_URL="")
    assert done.returncode == 0
    assert "CREATE TABLE links (" in done.stdout
    assert done.stdout.count("BEGIN;") == done.stdout.count("COMMIT;") > 5
    assert done.stdout.count("SET lock_timeout") == len(revisions("shard"))


def test_the_sql_of_what_a_database_lacks_brings_it_there(urls: tuple[str, str]) -> None:
    settings = Settings.load({"DATABASE_URL": urls[0]})
    engine = create_engine(str(settings.database_url))
    with engine.connect() as connection:
        move(connection, "directory", HEAD)
        move(connection, "shard", "0004_shard")
    done = run("--sql", "shard", "--after", "0004_shard")
    assert "CREATE TABLE links (" not in done.stdout
    with closing(psycopg2.connect(urls[0])) as raw:
        raw.autocommit = True
        for statement in done.stdout.strip().split(";\n\n"):
            raw.cursor().execute(statement)
    engine.dispose()
    assert pending(settings) == []
    assert differences(settings, METADATA) == []
    wrong = run("--sql", "shard", "--after", "0004_directory")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "shard has no revision 0004_directory" in wrong.stderr


def test_a_table_in_use_is_waited_for_and_tried_again(
    urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "LOCK_TIMEOUT", "SET lock_timeout = '200ms'")
    monkeypatch.setattr(migrating, "_LOCK_PAUSE_SECONDS", 0.1)
    settings = Settings.load({"DATABASE_URL": urls[0]})
    engine = create_engine(str(settings.database_url))
    migrate(settings, report=lambda line: None)
    with engine.connect() as connection:
        move(connection, "shard", "0006_shard")
    said: list[str] = []
    holder = engine.connect()
    holder.execute(text("LOCK TABLE ingested_segments IN ACCESS SHARE MODE"))

    def hear(line: str) -> None:
        said.append(line)
        if said.count(line) == 2 and "in use" in line:
            holder.rollback()

    migrate(settings, report=hear)
    holder.close()
    engine.dispose()
    assert said.count("shard: a table is in use; trying again") == 2
    assert pending(settings) == []


def test_who_is_killed_is_followed_by_one_that_goes_on(urls: tuple[str, str]) -> None:
    settings = Settings.load({"DATABASE_URL": urls[0]})
    engine = create_engine(str(settings.database_url))
    migrate(settings, report=lambda line: None)
    with engine.connect() as connection:
        move(connection, "shard", "0004_shard")
    # It gets stuck half way: 0005 is applied, 0007 needs this table.
    holder = engine.connect()
    holder.execute(text("LOCK TABLE ingested_segments IN ACCESS SHARE MODE"))
    command = [sys.executable, str(ROOT / "scripts/migrate")]
    process = subprocess.Popen(
        command, env=os.environ | {"DATABASE_URL": urls[0]}, stdout=subprocess.DEVNULL
    )
    waiting = text(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation' AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    deadline = time.monotonic() + 20
    with engine.connect() as watcher:
        while not watcher.scalar(waiting):
            watcher.rollback()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    holder.close()
    said: list[str] = []
    migrate(settings, report=said.append)
    engine.dispose()
    assert said[-1] == f"shard: 0006_shard -> {newest_revision('shard')}"
    assert pending(settings) == []


def test_two_at_once_wait_for_each_other(urls: tuple[str, str]) -> None:
    environ = os.environ | {"DATABASE_URL": urls[0]}
    command = [sys.executable, str(ROOT / "scripts/migrate")]
    both = [
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("up to date" in output for output in outputs) == [False, True]


def test_migration_errors_name_the_shards(urls: tuple[str, str]) -> None:
    settings = Settings.load({"DATABASE_URL": urls[0], "SHARD_URLS": f"second={urls[1]}"})
    engine = create_engine(str(settings.database_url))
    migrate(settings, report=lambda line: None)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO shards VALUES ('main', NULL), ('nowhere', NULL), ('odd', 'mysql://')")
        )
    engine.dispose()
    said: list[str] = []
    with pytest.raises(MigrationError, match=r"the shards nowhere, odd\.$"):
        migrate(settings, report=said.append)
    assert "shard second: up to date" in said
    assert "shard nowhere: FAILED: SHARD_URLS: The shard 'nowhere' has no address." in said
