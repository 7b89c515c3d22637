"""A job that a release before asked for is done by a worker of this one; one that it does not know
is told, and the next one is done."""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from tests.factories.clicks import a_link_id
from tests.messages.samples import LINK, SAMPLES
from tests.running import wait_until
from tests.services.network import free_ports
from tests.titles.test_worker import forget, working

pytestmark = pytest.mark.rabbitmq


def test_a_job_of_before_is_done_and_one_of_later_is_left_out(environ: dict[str, str]) -> None:
    first, second = str(a_link_id()), str(a_link_id())
    settings = {
        "AMQP_URL": os.environ["TEST_AMQP_URL"],
        "JOBS_QUEUE": f"test.jobs.{uuid.uuid4().hex[:12]}",
        "LOG_LEVELS": "api.jobs=DEBUG",
    }
    queue = settings["JOBS_QUEUE"]
    try:
        with (
            working(environ | settings, free_ports(1)[0]) as worker,
            pika.BlockingConnection(pika.URLParameters(settings["AMQP_URL"])) as connection,
        ):
            wait_until(lambda: takers(connection, queue) > 0)
            channel = connection.channel()
            channel.confirm_delivery()
            for link, task, labels in (
                (first, "titles.fetch", {}),
                (first, "titles.paint", {}),  # of a release that knows more jobs
                (second, "titles.fetch", {"region": "eu"}),
            ):
                told, body = sample(link, task, labels)
                channel.basic_publish(queue, queue, body, pika.BasicProperties(**told))
            wait_until(lambda: channel.queue_declare(queue, passive=True).method.message_count == 0)
            worker.terminate()
            said, _ = worker.communicate(timeout=30)
    finally:
        forget(settings)
    for link in (first, second):
        assert f"title of link {link}: " in said
    assert said.count("titles.paint") >= 1
    assert worker.returncode == 0, said


def sample(link: str, task: str, labels: dict[str, str]) -> tuple[dict[str, Any], bytes]:
    """The kept message, for another link: its labels and its body."""
    kept = next(it for it in SAMPLES if it.name == "job").path.read_text()
    told = json.loads(kept.replace(str(LINK), link).replace("titles.fetch", task))
    body = json.dumps(told.pop("body")).encode()
    told["headers"] |= {"expires": "2090-01-01T00:00:00+00:00", **labels}
    return told, body


def takers(connection: pika.BlockingConnection, queue: str) -> int:
    channel = connection.channel()
    try:
        number: int = channel.queue_declare(queue, passive=True).method.consumer_count
    except ChannelClosedByBroker:
        return 0
    return number
