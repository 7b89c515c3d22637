"""What each dependency's absence means to which process, and what is told of it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask import Flask

from api.core.database.lineages import LINEAGES, revisions, revisions_after
from api.core.database.revisions import known_revisions, pending_revisions
from api.core.embedded.valkey import EmbeddedValkey
from tests.conftest import OPERATOR, migrated_database
from tests.operations.test_health import make_app
from tests.running import wait_until

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def own_database() -> Iterator[str]:
    """A migrated database whose schema a test may change."""
    with migrated_database() as url:
        yield url


def ask(app: Flask, path: str = "/health/ready") -> tuple[int, dict[str, Any]]:
    answer = app.test_client().get(path, headers=OPERATOR)
    return answer.status_code, answer.json or {}


def run(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)


def test_each_dependency_tells_how_fast_it_is_and_since_when(app: Flask) -> None:
    _, state = ask(app)
    assert {"database", "redis", "spool", "disk"} <= set(state["checks"])
    for check in state["checks"].values():
        assert _MOMENT.fullmatch(check["since"])
        assert check["latency_ms"] >= 0


def test_since_is_the_moment_of_the_change(tmp_path: Path, database_url: str) -> None:
    valkey = EmbeddedValkey(tmp_path / "valkey")
    valkey.start()
    wait_until(valkey.ready, 10)
    app = make_app(tmp_path, DATABASE_URL=database_url, REDIS_URL=valkey.url)
    status, state = ask(app)
    assert (status, state["status"]) == (200, "ready")
    time.sleep(1.1)  # a report is kept for a second
    before = state["checks"]["redis"]["since"]
    assert ask(app)[1]["checks"]["redis"]["since"] == before

    valkey.stop()
    time.sleep(1.1)
    status, state = ask(app)
    away = state["checks"]["redis"]
    assert (status, state["status"], away["status"]) == (200, "degraded", "down")
    assert away["since"] > before
    assert away["reason"]
    assert state["checks"]["database"]["since"] <= before


@pytest.mark.parametrize(
    ("services", "status", "word"),
    [("redirect", 200, "degraded"), ("api", 503, "unready"), ("all", 503, "unready")],
)
def test_only_redirects_live_without_the_primary(
    tmp_path: Path, services: str, status: int, word: str
) -> None:
    app = make_app(tmp_path, SIGNPOST_SERVICES=services)
    (tmp_path / "spool").mkdir()
    found, state = ask(app)
    assert (found, state["status"]) == (status, word)
    assert state["checks"]["database"]["status"] == "down"
    assert ("spool" in state["checks"]) == (services != "api")
    # A process of redirects that starts again meanwhile finds links in Redis, and in its replicas.
    assert ask(app, "/health/startup")[0] == status


def test_a_shard_that_is_away_makes_a_process_degraded(tmp_path: Path, own_database: str) -> None:
    run(own_database, "INSERT INTO shards (name, url) VALUES ('second', NULL)")
    shard = f"second={_NOWHERE}"
    app = make_app(tmp_path, DATABASE_URL=own_database, REDIS_URL="", SHARD_URLS=shard)
    (tmp_path / "spool").mkdir()
    status, state = ask(app)
    assert (status, state["status"]) == (200, "degraded")
    assert state["checks"]["shard-second"]["status"] == "down"
    assert state["checks"]["database"]["status"] == "up"
    status, state = ask(app, "/health/startup")
    assert status == 200
    assert state["checks"]["schema-second"]["status"] == "down"


def test_nobody_starts_on_a_schema_that_is_behind(tmp_path: Path, own_database: str) -> None:
    newest = revisions("shard")[-1]
    run(own_database, f"UPDATE alembic_version_shard SET version_num = '{revisions('shard')[-2]}'")
    for services in ("redirect", "all"):
        app = make_app(tmp_path, DATABASE_URL=own_database, SIGNPOST_SERVICES=services)
        status, state = ask(app, "/health/startup")
        schema = state["checks"]["schema"]
        assert (status, schema["status"], schema["pending"]) == (503, "behind", [newest])
        assert "scripts/migrate" in schema["reason"]
        told = (app.test_client().get("/health/startup").json or {})["checks"]["schema"]
        assert told == {"status": "behind"}


def test_a_newer_schema_is_good(tmp_path: Path, own_database: str) -> None:
    run(own_database, "UPDATE alembic_version_directory SET version_num = '9999_directory'")
    app = make_app(tmp_path, DATABASE_URL=own_database)
    status, state = ask(app, "/health/startup")
    assert status == 200
    assert state["checks"]["schema"]["newer_than_code"] == ["directory"]
    assert state["checks"]["schema"]["revisions"]["directory"] == "9999_directory"


@pytest.mark.parametrize("lineage", LINEAGES)
def test_revisions_are_those_that_alembic_knows(lineage: str) -> None:
    assert list(known_revisions(lineage)) == revisions(lineage)
    for revision in (None, *revisions(lineage), "9999_of_newer_code"):
        assert pending_revisions(lineage, revision) == revisions_after(lineage, revision)
