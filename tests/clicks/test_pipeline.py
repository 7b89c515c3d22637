"""The whole way of a click: gunicorn, spool, RabbitMQ, consumer, PostgreSQL."""

from __future__ import annotations

import os
import signal
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.clicks.brokers import messages_in, new_broker
from tests.running import BROWSER, RunningSignpost, running, wait_until
from tests.services.rabbitmq import PrivateRabbitMQ, wait_until_up

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


@pytest.mark.slow
def test_redirects_go_on_while_the_broker_is_killed_and_all_is_counted(tmp_path: Path) -> None:
    broker = PrivateRabbitMQ(tmp_path / "rabbitmq")
    broker.start()
    try:
        wait_until_up(broker.url)
        with running(tmp_path / "home", AMQP_URL=broker.url) as signpost:
            link = signpost.call("POST", "/api/v1/links", {"url": "https://example.com/"})
            _visit(signpost, link["slug"], VISITS)
            time.sleep(5)  # RabbitMQ 3.10 forgets a queue when it is killed just after making it
            assert broker.process_id is not None
            os.kill(broker.process_id, signal.SIGKILL)
            wait_until(lambda: broker.exit_status() is not None)
            _visit(signpost, link["slug"], VISITS)
            wait_until(lambda: _queue_of(signpost)["status"] == "down")
            assert list((signpost.home / "spool").glob("*.*"))

            broker.start()
            wait_until_up(broker.url)

            wait_until(lambda: signpost.clicks(link["id"]) == 2 * VISITS)
            wait_until(lambda: _queue_of(signpost)["status"] == "up")
            wait_until(lambda: not list((signpost.home / "spool").glob("*.*")))
    finally:
        broker.stop()


def _queue_of(signpost: RunningSignpost) -> dict[str, str]:
    queue: dict[str, str] = signpost.call("GET", "/health/ready")["checks"]["queue"]
    return queue
