"""Servers that refuse, are full, are replicas, or have queues in which something waits."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from sqlalchemy import make_url

from api.core.embedded.valkey import EmbeddedValkey
from tests.clicks.brokers import channel_of, new_broker, put_into
from tests.doctor.asking import NOWHERE, Findings, examine
from tests.factories.clicks import a_click, a_segment
from tests.running import clean_environ, wait_until


def test_refusals_are_explained(home: Path) -> None:
    url = make_url(os.environ["TEST_DATABASE_URL"]).set(drivername="postgresql")
    stranger_url = os.environ["TEST_REDIS_URL"].replace("redis://", "redis://nobody:nothing@")

    def refusal(**settings: str) -> Findings:
        return examine(clean_environ(home, **settings), "--only", "connections")[1]

    stranger = url.set(username="no_such_role").render_as_string(hide_password=False)
    findings = refusal(DATABASE_URL=stranger, REDIS_URL=stranger_url)
    assert 'role "no_such_role" does not exist' in findings["database main"]["found"]
    assert "Make the role" in findings["database main"]["advice"]
    assert findings["redis"]["status"] == "wrong"
    assert "the password in REDIS_URL" in findings["redis"]["advice"]
    assert "nothing" not in str(findings)
    nowhere = url.set(database="no_such_database").render_as_string(hide_password=False)
    assert "createdb" in refusal(DATABASE_URL=nowhere)["database main"]["advice"]
    assert "scripts/start" in refusal()["database main"]["command"]


def test_a_redis_that_refuses_when_it_is_full_is_told_of(home: Path) -> None:
    valkey = EmbeddedValkey(home / "valkey")
    valkey.start()
    wait_until(valkey.ready, 10)
    environ = clean_environ(home, REDIS_URL=valkey.url, DATABASE_URL=NOWHERE)
    try:
        with closing(redis.Redis.from_url(valkey.url)) as client:
            kept = client.info("memory")["maxmemory_policy"]
            _, findings = examine(environ, "--only", "connections")
            assert findings["memory of redis"]["found"].endswith(f"of 268 MB, {kept}")
            client.config_set("maxmemory-policy", "noeviction")
            _, findings = examine(environ, "--only", "connections")
            assert findings["memory of redis"]["status"] == "warning"
            # A replica takes no writes.
            client.replicaof("127.0.0.1", 1)
            _, findings = examine(environ, "--only", "connections")
            assert findings["redis"]["status"] == "wrong"
            assert "Name the primary in REDIS_URL" in findings["redis"]["advice"]
    finally:
        valkey.stop()


@pytest.mark.rabbitmq
def test_queues_are_told_of(home: Path) -> None:
    with new_broker() as broker:
        environ = clean_environ(home, AMQP_URL=broker.url, AMQP_QUEUE=broker.queue)
        only = ("--only", "connections")
        name = f"queue {broker.queue}"
        assert examine(environ, *only)[1][name]["status"] == "warning"
        assert examine(environ, *only)[1]["dead letters"]["found"] == "none"

        segment = a_segment([a_click(1)])
        put_into(broker, segment)
        with channel_of(broker) as channel:
            channel.confirm_delivery()
            broker.bury(channel, segment.name, segment.body, "as a test wants it")
        _, findings = examine(environ, *only)
        assert findings["broker"]["found"].startswith("RabbitMQ 3.")
        assert findings[name]["found"] == "1 segments wait, 0 consumers"
        assert (findings[name]["status"], findings[name]["command"]) == (
            "wrong",
            "scripts/consume-clicks",
        )
        letters = findings["dead letters"]
        assert (letters["status"], letters["command"]) == ("warning", "scripts/dead-letters list")

        other = environ | {"AMQP_MAX_QUEUE_BYTES": "5000000"}
        assert "inequivalent arg" in examine(other, *only)[1][name]["found"]
        absent = environ | {"AMQP_QUEUE": f"{broker.queue}.none"}
        assert "not there yet" in examine(absent, *only)[1][f"{name}.none"]["found"]
        # It looked, and made nothing.
        assert "not there yet" in examine(absent, *only)[1][f"{name}.none"]["found"]
        wrong = environ | {"AMQP_URL": broker.url.replace("guest:guest@", "guest:wrong@")}
        refused = examine(wrong, *only)[1]["broker"]
        assert "Correct the user and the password in AMQP_URL" in refused["advice"]
        assert "wrong" not in refused["found"]
        place = urlsplit(broker.url)
        mistaken = environ | {"DATABASE_URL": f"postgresql://me@{place.hostname}:{place.port}/me"}
        advice = examine(mistaken, *only)[1]["database main"]["advice"]
        assert "Something else than PostgreSQL answers there" in advice
