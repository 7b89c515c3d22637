"""What is read from an error, and how many of the same are told."""

from __future__ import annotations

import psycopg2
import pytest
import redis
from redis.exceptions import ResponseError

from api.core.errors import Unavailable
from api.core.redis_clients import make_redis
from api.core.reports.facts import database_facts, is_away, redis_command, telling_value
from api.core.reports.storms import Storms
from tests.redirects.conftest import own_redis, shared
from tests.redirects.shared_redis import SharedRedis

__all__ = ["own_redis", "shared"]


def test_command_of_redis_is_named_and_its_arguments_are_not(shared: SharedRedis) -> None:
    with redis.Redis.from_url(shared.url) as client:
        client.lpush("reports-of-tests", "x")
        with pytest.raises(ResponseError) as alone:
            client.get("reports-of-tests")
        with pytest.raises(ResponseError) as piped, client.pipeline() as pipe:
            pipe.get("reports-of-tests (a) b").incr("reports-of-tests").execute()
        client.delete("reports-of-tests")
    assert redis_command(alone.value) == "GET"
    assert redis_command(piped.value) in ("MULTI", "PIPELINE")
    told = telling_value("redis.exceptions", str(piped.value), None)
    assert "INCR" in told
    assert "reports-of-tests" not in told


def test_value_that_postgresql_cannot_read_is_not_told(database_url: str) -> None:
    connection = psycopg2.connect(database_url)
    try:
        with connection.cursor() as cursor, pytest.raises(psycopg2.Error) as raised:
            cursor.execute("SELECT %s::integer", ("secret-of-mine",))
    finally:
        connection.close()
    facts = database_facts(raised.value)
    assert facts is not None
    assert facts.message == "InvalidTextRepresentation (SQLSTATE 22P02)"
    assert not is_away(raised.value)


def test_dependency_that_is_away_is_told_from_one_that_refuses() -> None:
    with pytest.raises(psycopg2.OperationalError) as away:
        psycopg2.connect("postgresql://nobody@127.0.0.1:1/nothing")
    assert is_away(away.value)
    with pytest.raises(redis.ConnectionError) as gone, make_redis("redis://127.0.0.1:1", 1) as none:
        none.ping()
    assert is_away(gone.value)
    assert not is_away(ValueError("x"))
    assert not is_away(Unavailable())


def test_few_of_the_same_pass_and_the_next_minute_says_how_many_did_not() -> None:
    now = [0.0]
    storms = Storms(lambda: now[0])
    assert [storms.pass_through("a") for _ in range(1_000)].count(0) == 3
    assert storms.pass_through("b") == 0
    now[0] = 61.0
    assert storms.pass_through("a") == 997
    assert storms.pass_through("a") == 0


def test_however_many_kinds_there_are_a_minute_has_a_bound() -> None:
    storms = Storms(lambda: 0.0)
    passed = [storms.pass_through(number) for number in range(5_000)]
    assert len(passed) - passed.count(None) == 60
