"""What the processes may open is held against what each server allows, when they start."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from api.core.database.capacity import check_capacity
from api.core.database.demand import demand_of
from api.core.database.routing import Database
from config.settings import Settings
from tests.conftest import migrated_database
from tests.contracts.scratch import scratch_database
from tests.running import running, wait_until

SMALL = {"WEB_CONCURRENCY": "2", "DB_POOL_SIZE": "3", "DB_MAX_OVERFLOW": "1"}
LARGE = SMALL | {"WEB_CONCURRENCY": "500"}


@contextmanager
def opened(environ: dict[str, str], **changes: str) -> Iterator[tuple[Database, Settings]]:
    settings = Settings.load(environ | changes)
    db = Database(settings)
    yield db, settings
    db.dispose()


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    name = "api.core.database.capacity"
    records = [record for record in caplog.records if record.name == name]
    return [record.message for record in records if record.levelno == logging.WARNING]


def test_all_processes_are_added_up() -> None:
    # 2 x (3 + 1 + 3) of web workers, the consumer's, the job worker's, and those of scripts.
    assert demand_of(Settings.load(SMALL)).total == 14 + 4 + 7 + 3
    # Jobs never use more than the pools of their process.
    jobs = SMALL | {"JOB_THREADS": "2"}
    assert demand_of(Settings.load(jobs)).total == 14 + 4 + 3 + 5
    assert demand_of(Settings.load(jobs | {"JOB_THREADS": "50"})).total == 14 + 4 + 3 + 7
    # Each worker looks at replicas.
    replicas = SMALL | {"DATABASE_REPLICA_URLS": "postgresql://a/b"}
    assert demand_of(Settings.load(replicas)).total == 14 + 2 + 4 + 7 + 3


def test_what_fits_is_not_spoken_of(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with opened(environ, **SMALL) as (db, settings):
        check_capacity(db, settings)
    assert warnings_of(caplog) == []


def test_what_does_not_fit_is_told_with_its_sum(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with opened(environ, **LARGE) as (db, settings):
        check_capacity(db, settings)
    (line,) = warnings_of(caplog)
    assert "500 web workers x (3 pool + 1 overflow + 3 single statements)" in line
    assert "+ consumer 4 + jobs 7 + scripts 3 = 3514" in line
    assert "max_connections 200, of which 3 are reserved" in line


def test_databases_of_one_server_share_what_it_allows(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    # Once it would fit, twice it does not: 12 x (3 + 1 + 3 + 1) + 14 = 110 of 197.
    changes = SMALL | {"WEB_CONCURRENCY": "12", "DATABASE_REPLICA_URLS": environ["DATABASE_URL"]}
    with opened(environ, **changes) as (db, settings):
        check_capacity(db, settings)
    (line,) = warnings_of(caplog)
    assert line.startswith("main, main-replica-1 may refuse connections")
    assert "for each of 2 databases: 220" in line


def test_a_limit_of_the_database_counts(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with migrated_database() as url:
        with closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            name = connection.info.dbname
            connection.cursor().execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 20')
        with opened(environ, **SMALL, DATABASE_URL=url) as (db, settings):
            check_capacity(db, settings)
    (line,) = warnings_of(caplog)
    assert "allows 20" in line and "limited to 20" in line


def test_server_that_is_away_is_no_failure(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    away = "postgresql://nobody@127.0.0.1:1/none"
    with opened(environ, **LARGE, DATABASE_URL=away) as (db, settings):
        check_capacity(db, settings)
    assert warnings_of(caplog) == []


@pytest.mark.skipif(sys.platform != "linux", reason="runs scripts/start")
def test_start_says_it_once_and_its_master_connects_to_nothing(
    database_url: str, tmp_path: Path
) -> None:
    # A database of its own: only the first start over one makes a key.
    with (
        scratch_database(database_url) as url,
        running(
            tmp_path / "home",
            DATABASE_URL=url,
            REDIS_URL=os.environ["TEST_REDIS_URL"],
            DB_POOL_SIZE="60",
        ) as site,
    ):
        wait_until(lambda: "may refuse connections" in site.output, 20)
        wait_until((site.home / "admin.key").exists, 20)
        (master,) = [pid for pid, line in site.children().items() if "gunicorn" in line]
        sockets = {
            target.removeprefix("socket:[").removesuffix("]")
            for entry in Path(f"/proc/{master}/fd").iterdir()
            if (target := str(entry.readlink())).startswith("socket:[")
        }
        established = {
            line.split()[9]
            for line in Path(f"/proc/{master}/net/tcp").read_text().splitlines()[1:]
            if line.split()[3] == "01"
        }
        assert not sockets & established
        assert site.call("GET", "/api/v1/links")["data"] is not None
    assert site.output.count("may refuse connections") == 1
