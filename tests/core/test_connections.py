"""Connections for single statements: bounded, and replaced when the server ended them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg2
import pytest
from sqlalchemy import bindparam, func, literal, literal_column, select, text

from api.core.database.prepared import Question
from api.core.database.routing import Database
from api.core.errors import Unavailable
from config.settings import Settings

BACKEND = Question(select(func.pg_backend_pid().label("pid")))
SLEEP = Question(select(func.pg_sleep(bindparam("seconds")).label("slept")))
ECHO = Question(
    select(bindparam("given", type_=None).label("given"), literal("50 %").label("part"))
)


@pytest.fixture
def small(settings: Settings, environ: dict[str, str]) -> Iterator[Database]:
    """A database with one connection for single statements."""
    limits = {"DB_POOL_SIZE": "1", "DB_POOL_TIMEOUT_SECONDS": "0.2"}
    database = Database(Settings.load(environ | limits | {"DB_STATEMENT_TIMEOUT_SECONDS": "0.3"}))
    yield database
    database.dispose()


def backend(db: Database) -> int:
    with db.read_once(0) as connection:
        row = connection.ask_one(BACKEND)
    assert row is not None
    return int(row.pid)


def test_connection_is_used_again(small: Database) -> None:
    assert backend(small) == backend(small)


def test_connection_that_the_server_ended_is_replaced(small: Database, db: Database) -> None:
    first = backend(small)
    with db.write(0) as session:
        session.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": first})
    assert backend(small) != first


def test_session_outlives_the_end_of_its_connection(small: Database, db: Database) -> None:
    def ask() -> int:
        with small.read(0) as session:
            return int(session.execute(text("SELECT pg_backend_pid()")).scalar_one())

    first = ask()
    assert ask() == first
    with db.write(0) as session:
        session.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": first})
    assert ask() != first


def test_all_in_use_is_a_busy_database(small: Database) -> None:
    with small.read_once(0), pytest.raises(Unavailable, match="busy"), small.read_once(0):
        pass
    assert backend(small)


def test_who_waits_gets_the_connection_that_is_given_back(small: Database) -> None:
    got: list[int] = []
    with small.read_once(0):
        waiting = threading.Thread(target=lambda: got.append(backend(small)))
        waiting.start()
    waiting.join(5)
    assert len(got) == 1


def test_statement_that_takes_too_long_is_an_absent_database(small: Database) -> None:
    with pytest.raises(Unavailable, match="does not answer"), small.read_once(0) as connection:
        connection.ask(SLEEP, seconds=5)
    assert backend(small)


def test_mistake_of_ours_is_no_absent_database(small: Database) -> None:
    wrong = Question(select(literal_column("no_such_column").label("x")))
    with pytest.raises(psycopg2.ProgrammingError), small.read_once(0) as connection:
        connection.ask(wrong)
    assert backend(small)


def test_values_and_percent_signs_arrive_as_they_are(small: Database) -> None:
    given = "100 % 'quoted' \\ %(given)s"
    with small.read_once(0) as connection:
        assert connection.ask_one(ECHO, given=given) == (given, "50 %")
