"""Behind PgBouncer a transaction has the limits that were set, and the next one has none of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from sqlalchemy import bindparam, func, select, text

from api.clicks.months import detach_month_at_once, find_months, next_month
from api.clicks.partitions import make_months_ahead
from api.core.database.prepared import Command, Question
from api.core.database.routing import Database
from api.core.errors import Unavailable
from config.settings import Settings
from tests.running import ROOT
from tests.services.pgbouncer import PrivatePgBouncer

NAMES = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "timezone")
WANTED = ["4s", "1500ms", "20s", "UTC"]
LIMITS = {
    "DB_STATEMENT_TIMEOUT_SECONDS": "4",
    "DB_LOCK_TIMEOUT_SECONDS": "1.5",
    "DB_IDLE_TRANSACTION_SECONDS": "20",
}
_SHOWN = select(func.current_setting(bindparam("name")).label("value"))
SHOW, SHOW_AS_WRITER = Question(_SHOWN), Command(_SHOWN)
NAP = Question(select(func.pg_sleep(bindparam("seconds")).label("slept")))


@pytest.fixture
def db(pooled: dict[str, str]) -> Iterator[Database]:
    database = Database(Settings.load(pooled | LIMITS))
    yield database
    database.dispose()


def test_each_transaction_has_its_limits(db: Database) -> None:
    for opened in (db.write_directory, db.read_directory):
        with opened() as session:
            assert [session.scalar(text(f"SHOW {name}")) for name in NAMES] == WANTED
    with db.read_directory_once() as questions:
        told = [questions.ask_one(SHOW, name=name) for name in NAMES]
        assert [row.value for row in told if row] == WANTED
    with db.write_directory_once() as commands:
        written = [commands.run(SHOW_AS_WRITER, name=name)[0].value for name in NAMES]
        assert written == WANTED


def test_write_whose_position_is_noted_has_its_limits(pooled: dict[str, str]) -> None:
    replica = {"DATABASE_REPLICA_URLS": pooled["DATABASE_URL"]}
    db = Database(Settings.load(pooled | LIMITS | replica))
    with db.write(0, 7) as session:
        assert [session.scalar(text(f"SHOW {name}")) for name in NAMES] == WANTED
    with db.write(0, 7) as session:
        session.execute(text("CREATE TEMPORARY TABLE seen (name text) ON COMMIT DROP"))
        session.execute(text("INSERT INTO seen VALUES ('here')"))
        assert session.scalar(text("SELECT name FROM seen")) == "here"
    with db.write_once(0, 7) as commands:
        written = [commands.run(SHOW_AS_WRITER, name=name)[0].value for name in NAMES]
        assert written == WANTED
    db.dispose()


def test_nothing_of_it_is_left_to_others(db: Database, pooled: dict[str, str]) -> None:
    with db.write_directory() as session:
        session.execute(text("SELECT 1"))
    with db.read_directory_once() as questions:
        questions.ask_one(SHOW, name="timezone")
    # The server's own, which another client of PgBouncer has on the same connection.
    with closing(psycopg2.connect(pooled["DATABASE_URL"])) as other, other.cursor() as cursor:
        for name in NAMES[:3]:
            cursor.execute(f"SHOW {name}")
            assert cursor.fetchone() == ("0",), name
        cursor.execute("SHOW transaction_read_only")
        assert cursor.fetchone() == ("off",)


def test_statement_is_ended_by_its_limit(pooled: dict[str, str]) -> None:
    db = Database(Settings.load(pooled | {"DB_STATEMENT_TIMEOUT_SECONDS": "0.2"}))
    with pytest.raises(Unavailable), db.read_directory_once() as questions:
        questions.ask(NAP, seconds=20)
    with pytest.raises(Unavailable), db.read_directory() as session:
        session.execute(text("SELECT pg_sleep(20)"))
    db.dispose()


def test_reader_cannot_write(db: Database) -> None:
    insert = text("INSERT INTO idempotency_keys DEFAULT VALUES")
    with pytest.raises(Exception, match="read-only"), db.read_directory() as session:
        session.execute(insert)


def test_month_is_taken_out_within_a_transaction(db: Database, environ: dict[str, str]) -> None:
    assert db.transactions_only
    make_months_ahead(db)
    with db.read_shard("main") as session:
        last = max(month.first for month in find_months(session))
    with db.write_shard("main") as session:
        detach_month_at_once(session, last)
        assert last not in [month.first for month in find_months(session) if month.attached]
        session.execute(text(f"DROP TABLE clicks_y{last:%Y}m{last:%m}"))
    assert make_months_ahead(db) is not None
    with db.read_shard("main") as session:
        again = [month.first for month in find_months(session) if month.attached]
    assert last in again and next_month(last) not in again


_GIVE_UP = """
from gevent import monkey; monkey.patch_all()
import sys, gevent, psycopg2
from sqlalchemy import text
from api.core.database import gevent_wait
from api.core.database.routing import Database
from config.settings import Settings
gevent_wait.install()
db = Database(Settings.load({"DATABASE_URL": sys.argv[1], "DB_PGBOUNCER": "true"}))
watcher = psycopg2.connect(sys.argv[2])
watcher.autocommit = True
def running():
    cursor = watcher.cursor()
    cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pooled_victim%'"
                   " AND state = 'active' AND pid <> pg_backend_pid()")
    return cursor.fetchone()[0]
seen = 0
try:
    with gevent.Timeout(0.5), db.write(0) as session:
        session.execute(text("SELECT pg_sleep(30) AS pooled_victim"))
except gevent.Timeout:
    seen = 1
for _ in range(100):
    if not running():
        break
    gevent.sleep(0.02)
print(seen, running())
"""


def test_statement_that_is_given_up_is_cancelled(
    pooled: dict[str, str], database_url: str, bouncer: PrivatePgBouncer
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _GIVE_UP, pooled["DATABASE_URL"], database_url],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["1", "0"], done.stderr
    assert sum(pool["cl_waiting"] for pool in bouncer.show("POOLS")) == 0
