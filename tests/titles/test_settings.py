"""How settings become those of Celery."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest
import redis

from api.core.embedded.valkey import EmbeddedValkey
from api.jobs.application import make_celery
from config.settings import Settings


def conf(environ: dict[str, str], **settings: str) -> dict[str, object]:
    celery = make_celery(Settings.load(environ | settings))
    assert celery is not None
    return dict(celery.conf)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://user:p%40ss@redis.test:7000/3", "redis://user:p%40ss@redis.test:7000/3"),
        ("unix:///var/run/valkey.sock?db=2", "redis+socket:///var/run/valkey.sock?virtual_host=2"),
        ("unix:///var/run/valkey.sock", "redis+socket:///var/run/valkey.sock?virtual_host=0"),
    ],
)
def test_redis_is_the_broker_where_there_is_no_rabbitmq(
    environ: dict[str, str], url: str, expected: str
) -> None:
    assert conf(environ, REDIS_URL=url)["broker_url"] == expected


def test_embedded_server_is_reached_by_its_socket(environ: dict[str, str], tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "a folder")
    server.start()
    try:
        deadline = time.monotonic() + 20
        while not server.ready():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        celery = make_celery(Settings.load(environ | {"REDIS_URL": server.url}))
        assert celery is not None
        celery.send_task("titles.fetch", args=("1",))
        client = redis.Redis.from_url(server.url)
        assert client.llen("signpost:jobs:signpost.jobs") == 1
        client.close()
        celery.close()
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("url", "address", "tls"),
    [
        ("amqp://u:p@mq.test/%2F", "amqp://u:p@mq.test:5672/%2F", None),
        (
            "amqps://u:p@mq.test/jobs",
            "amqp://u:p@mq.test:5671/jobs",
            {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": "mq.test"},
        ),
        (
            "amqps://u:p@mq.test/jobs?server_name_indication=other.test",
            "amqp://u:p@mq.test:5671/jobs",
            {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": "other.test"},
        ),
    ],
)
def test_rabbitmq_is_reached_as_its_url_says(
    environ: dict[str, str], url: str, address: str, tls: dict[str, object] | None
) -> None:
    made = conf(environ, AMQP_URL=url)
    assert made["broker_url"] == address
    assert made["broker_use_ssl"] == tls


def test_nothing_but_json_is_taken(environ: dict[str, str]) -> None:
    assert conf(environ)["accept_content"] == ["json"]
    assert conf(environ)["task_serializer"] == "json"
