"""Pools of connections: bounded waits, limits that PostgreSQL itself keeps, and what is counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from werkzeug.test import TestResponse

from api.app import create_app
from api.core.database.routing import Database
from api.core.errors import Unavailable
from api.identity.service import IdentityService
from config.settings import Settings
from tests.caller import Caller
from tests.conftest import OPERATOR
from tests.running import wait_until

Figures = dict[tuple[str, str, str], float]


@pytest.fixture
def small(environ: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    """An application with two connections for transactions, and one for statements."""
    limits = {"DB_POOL_SIZE": "1", "DB_MAX_OVERFLOW": "1", "DB_POOL_TIMEOUT_SECONDS": "0.3"}
    app = create_app(Settings.load(environ | limits | {"SIGNPOST_HOME": str(tmp_path)}))
    app.extensions["signpost"].start_worker()
    yield app
    app.extensions["signpost"].stop_worker()


@pytest.fixture
def small_db(small: Flask) -> Database:
    db: Database = small.extensions["signpost"].db
    return db


def figures(app: Flask) -> Figures:
    """What /metrics says of pools, by figure, database and pool."""
    answer = app.test_client().get("/metrics", headers=OPERATOR)
    assert answer.status_code == 200
    prefix = "signpost_db_pool_"
    return {
        (sample.name.removeprefix(prefix), sample.labels["database"], sample.labels["pool"]): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name.startswith(prefix)
    }


def hold_all(db: Database, held: ExitStack) -> None:
    """Take every connection that there is."""
    for _ in range(2):
        held.enter_context(db.write_directory()).execute(text("SELECT 1"))
    held.enter_context(db.write_directory_once())


def test_without_a_free_connection_answers_503_soon(
    small: Flask, small_db: Database, identity: IdentityService
) -> None:
    caller = Caller.of_new_workspace(small, identity)
    assert caller.get("/links").status_code == 200
    asks: list[Callable[[], TestResponse]] = [
        lambda: caller.get("/links"),
        lambda: caller.post("/links", {"url": "https://example.com/"}),
        lambda: small.test_client().get("/no-such-link-here"),
    ]
    with ExitStack() as held:
        hold_all(small_db, held)
        for ask in asks:
            started = time.monotonic()
            answer = ask()
            assert answer.status_code == 503
            assert answer.content_type == "application/problem+json"
            assert int(answer.headers["Retry-After"]) > 0
            assert time.monotonic() - started < 2
    assert caller.get("/links").status_code == 200


def test_metrics_tell_how_pools_are_used(small: Flask, small_db: Database) -> None:
    waiting = threading.Thread(target=wait_in_vain, args=[small_db])
    with ExitStack() as held:
        hold_all(small_db, held)
        busy = figures(small)
        waiting.start()
        wait_until(lambda: figures(small)["waiting", "main", "transactions"] == 1, 5)
        waiting.join()
    idle = figures(small)

    assert busy["size", "main", "transactions"] == 1
    assert busy["checked_out", "main", "transactions"] == 2
    assert busy["overflow", "main", "transactions"] == 1
    assert busy["idle", "main", "transactions"] == 0
    assert busy["checked_out", "main", "statements"] == 1
    assert busy["exhausted_total", "main", "transactions"] == 0
    assert idle["checked_out", "main", "transactions"] == 0
    assert idle["idle", "main", "transactions"] == 1
    assert idle["waiting", "main", "transactions"] == 0
    assert idle["exhausted_total", "main", "transactions"] == 1
    # What the application does beside requests may have waited, too.
    assert idle["exhausted_total", "main", "statements"] >= 1


def test_reports_that_take_all_connections_leave_the_process_ready(
    small: Flask, small_db: Database
) -> None:
    with small_db.write_directory() as one, small_db.write_directory() as other:
        one.execute(text("SELECT 1"))
        other.execute(text("SELECT 1"))
        assert small.test_client().get("/health/ready").status_code == 200


def wait_in_vain(db: Database) -> None:
    with pytest.raises(Unavailable), db.read_directory() as session:
        session.execute(text("SELECT 1"))
    with pytest.raises(Unavailable), db.read_directory_once():
        pass


def test_replicas_and_shards_are_counted_by_their_names(
    environ: dict[str, str], tmp_path: Path
) -> None:
    app = create_app(
        Settings.load(
            environ
            | {
                "SIGNPOST_HOME": str(tmp_path),
                "DATABASE_REPLICA_URLS": environ["DATABASE_URL"],
            }
        )
    )
    counted = figures(app)
    assert counted["size", "main", "statements"] == 5
    assert counted["idle", "main-replica-1", "transactions"] == 0


def test_limits_are_kept_by_postgresql_itself(environ: dict[str, str]) -> None:
    limits = {
        "DB_STATEMENT_TIMEOUT_SECONDS": "4",
        "DB_LOCK_TIMEOUT_SECONDS": "1.5",
        "DB_IDLE_TRANSACTION_SECONDS": "20",
    }
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    db = Database(Settings.load(environ | limits))
    try:
        for opened in (db.write_directory, db.read_directory):
            with opened() as session:
                told = [session.scalar(text(f"SHOW {name}")) for name in names]
            assert told == ["4s", "1500ms", "20s"]
    finally:
        db.dispose()


def test_lock_that_somebody_holds_is_waited_for_no_longer_than_that(
    environ: dict[str, str], db: Database
) -> None:
    other = Database(Settings.load(environ | {"DB_LOCK_TIMEOUT_SECONDS": "0.2"}))
    lock = text("SELECT pg_advisory_xact_lock(77)")
    started = time.monotonic()
    with db.write(0) as holder:
        holder.execute(lock)
        with pytest.raises(Unavailable, match="busy"), other.write(0) as session:
            session.execute(lock)
    other.dispose()
    assert time.monotonic() - started < 2


def test_transaction_in_which_nothing_happens_is_ended(environ: dict[str, str]) -> None:
    db = Database(Settings.load(environ | {"DB_IDLE_TRANSACTION_SECONDS": "0.2"}))
    with pytest.raises(Unavailable), db.write(0) as session:
        session.execute(text("SELECT 1"))
        time.sleep(0.5)
        session.execute(text("SELECT 1"))
    with db.write(0) as session:
        assert session.scalar(text("SELECT 1")) == 1
    db.dispose()
