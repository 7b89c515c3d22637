"""Redis as the broker: what is kept there has a life, and may be lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from api.jobs.application import make_celery
from api.jobs.names import FETCH_TITLE
from api.jobs.transport import LIFE_SECONDS
from config.settings import Settings
from tests.redirects.conftest import own_redis, shared
from tests.redirects.shared_redis import SharedRedis

__all__ = ["own_redis", "shared"]

QUEUE = "signpost:jobs:signpost.jobs"


@pytest.fixture
def celery(environ: dict[str, str], shared: SharedRedis) -> Iterator[Celery]:
    made = make_celery(Settings.load(environ | {"REDIS_URL": shared.url}))
    assert made is not None
    yield made
    made.close()


def send(celery: Celery, number: int) -> None:
    celery.send_task(FETCH_TITLE, args=(str(number),))


def lives(shared: SharedRedis) -> dict[str, Any]:
    """The life of each key, in seconds."""
    return {name.decode(): shared.client.ttl(name) for name in shared.client.keys("*")}


def test_jobs_go_on_after_redis_was_emptied(celery: Celery, shared: SharedRedis) -> None:
    send(celery, 1)
    shared.client.flushall()
    send(celery, 2)
    assert shared.client.llen(QUEUE) == 1


def test_job_of_a_dead_worker_waits_again_with_a_life(celery: Celery, shared: SharedRedis) -> None:
    send(celery, 1)
    assert list(lives(shared)) == [QUEUE]
    with celery.connection_for_read() as connection:
        channel = connection.default_channel
        message = celery.amqp.queues["signpost.jobs"](channel).get()
        held = lives(shared)
        assert set(held) == {"signpost:jobs:unacked", "signpost:jobs:unacked_index"}
        channel.qos.restore_by_tag(message.delivery_tag)
        again = lives(shared)
        assert list(again) == [QUEUE]
        assert all(0 < left <= LIFE_SECONDS for left in [*held.values(), *again.values()])
        taken = celery.amqp.queues["signpost.jobs"](channel).get()
        assert taken.delivery_tag == message.delivery_tag
        taken.ack()
    assert lives(shared) == {}
