"""The whole way of a click: gunicorn, spool, RabbitMQ, consumer, PostgreSQL."""

from __future__ import annotations

import os
import signal
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.clicks.brokers import messages_in, new_broker
from tests.running import BROWSER, RunningSignpost, running, wait_until

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]
VISITS = 300


def _visit(signpost: RunningSignpost, slug: str, times: int) -> None:
    connection = HTTPConnection("127.0.0.1", signpost.port, timeout=10)
    for _ in range(times):
        connection.request("GET", f"/{slug}", headers={"User-Agent": BROWSER})
        response = connection.getresponse()
        response.read()
        assert response.status == 302
    connection.close()


def test_clicks_go_through_the_queue_and_are_counted_once(tmp_path: Path) -> None:
    with (
        new_broker() as broker,
        running(
            tmp_path / "home", AMQP_URL=os.environ["TEST_AMQP_URL"], AMQP_QUEUE=broker.queue
        ) as signpost,
    ):
        link = signpost.call("POST", "/api/v1/links", {"url": "https://example.com/"})
        _visit(signpost, link["slug"], VISITS)
        wait_until(lambda: signpost.clicks(link["id"]) == VISITS)

        # Without a consumer they wait in the queue, not in the spool.
        (consumer,) = [
            number for number, line in signpost.children().items() if "consume-clicks" in line
        ]
        os.kill(consumer, signal.SIGSTOP)
        _visit(signpost, link["slug"], VISITS)
        wait_until(lambda: not list((signpost.home / "spool").iterdir()))
        assert signpost.clicks(link["id"]) == VISITS
        os.kill(consumer, signal.SIGKILL)

        wait_until(lambda: signpost.clicks(link["id"]) == 2 * VISITS)
        assert messages_in(broker, broker.dead_queue) == 0
