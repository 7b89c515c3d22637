"""What is known of positions in the write-ahead log: of writers, of a primary, of replicas."""

from __future__ import annotations

import math
import os
import uuid

import pytest
from sqlalchemy import create_engine, exc, text
from sqlalchemy.engine import make_url

from api.core.database.engines import connect_parameters, make_engine
from api.core.database.hosts import Hosts
from api.core.database.noting import NotingSession
from api.core.database.positions import Positions, position_of
from api.core.database.replica import Samples
from api.core.database.sessions import transaction
from api.core.dependencies import Dependency
from config.settings import Settings


def test_positions_are_compared_as_numbers_and_not_behind_the_header_of_an_empty_page() -> None:
    assert position_of("0/16B3748") < position_of("0/FFFFFFF8") < position_of("1/0") < (1 << 64)
    assert position_of("16/B374D848") == 0x16B374D848
    assert position_of("0/3002018") == position_of("0/3002000")
    assert position_of("0/3002020") > position_of("0/3002000")


def test_who_has_replayed_a_position_has_all_that_was_committed_before_it_was_asked() -> None:
    samples = Samples()
    assert samples.fresh_until(10**9) == -math.inf
    for moment, position in ((10.0, 100), (11.0, 100), (12.0, 150)):
        samples.add(moment, position)
    assert samples.fresh_until(99) == -math.inf
    assert samples.fresh_until(100) == samples.fresh_until(149) == 11.0
    assert samples.fresh_until(150) == samples.fresh_until(200) == 12.0
    # A primary whose log is shorter is another one: what is known of the old one is void.
    samples.add(13.0, 120)
    assert samples.fresh_until(110) == -math.inf
    assert samples.fresh_until(130) == 13.0


@pytest.fixture
def redis_url() -> str:
    url = os.environ.get("TEST_REDIS_URL")
    if not url:
        pytest.skip("needs Redis: TEST_REDIS_URL, which scripts/test sets")
    return url


def test_of_two_who_write_the_later_position_counts_whoever_tells_last(redis_url: str) -> None:
    one, other = Positions(redis_url, 1.0), Positions(redis_url, 1.0)
    subject = f"test:{uuid.uuid4().hex}"
    one.note(subject, 0x200)
    other.note(subject, 0x100)
    assert one._client is not None
    name, _ = one._names.of(subject)
    assert int(one._client.get(name), 16) == 0x200  # type: ignore[arg-type]
    assert 0 < one._client.pttl(name) <= 60_000  # type: ignore[operator]


def test_without_redis_no_position_is_known() -> None:
    positions = Positions(None, 1.0)
    positions.note("main:1", 5)
    assert positions.find("main:1") is None


class Noted(Positions):
    """Remembers what is noted."""

    def __init__(self) -> None:
        super().__init__(None, 1.0)
        self.notes: list[tuple[str, int]] = []

    def note(self, subject: str, position: int) -> None:
        self.notes.append((subject, position))


@pytest.fixture
def settings_here(database_url: str) -> Settings:
    return Settings.load(
        {"DATABASE_URL": database_url, "DB_POOL_SIZE": "1", "DB_MAX_OVERFLOW": "0"}
    )


def test_only_what_is_committed_is_noted_and_the_connection_is_left_as_it_was(
    settings_here: Settings,
) -> None:
    url = str(settings_here.database_url)
    hosts = Hosts(connect_parameters(url, settings_here, read_only=False))
    engine = make_engine(url, settings_here, hosts, Dependency("database"))
    table = f"noted_{uuid.uuid4().hex[:12]}"
    watcher = create_engine(make_url(url), isolation_level="AUTOCOMMIT")
    positions = Noted()

    def write(statement: str) -> None:
        with transaction(NotingSession(engine, (), positions, "main:1")) as session:
            session.execute(text(f"INSERT INTO {table} VALUES (1)"))
            session.execute(text(statement))

    with watcher.connect() as watched:
        watched.execute(text(f"CREATE TABLE {table} (one int)"))
        before = position_of(watched.scalar(text("SELECT pg_current_wal_insert_lsn()")))
        write("SELECT 1")
        ((subject, position),) = positions.notes
        assert subject == "main:1"
        assert before < position
        assert position <= position_of(watched.scalar(text("SELECT pg_current_wal_insert_lsn()")))

        with pytest.raises(exc.ProgrammingError):
            write("SELECT * FROM there_is_none")
        with (
            pytest.raises(ZeroDivisionError),
            transaction(NotingSession(engine, (), positions, "main:1")) as session,
        ):
            session.execute(text(f"INSERT INTO {table} VALUES (2)"))
            raise ZeroDivisionError
        assert len(positions.notes) == 1
        assert watched.scalar(text(f"SELECT count(*) FROM {table}")) == 1
        # The one connection of the pool begins transactions as before.
        with engine.connect() as connection:
            connection.execute(text(f"INSERT INTO {table} VALUES (3)"))
            connection.rollback()
        assert watched.scalar(text(f"SELECT count(*) FROM {table}")) == 1
        watched.execute(text(f"DROP TABLE {table}"))
    engine.dispose()
    watcher.dispose()
