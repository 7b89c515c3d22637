"""The private RabbitMQ does what later work needs of it."""

from __future__ import annotations

import os

import pika
import pytest

pytestmark = pytest.mark.rabbitmq


def test_quorum_queue_confirms_a_persistent_message() -> None:
    parameters = pika.URLParameters(os.environ["TEST_AMQP_URL"])
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = f"smoke-{os.getpid()}"
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        try:
            # Raises when the broker does not confirm, or has nowhere to put it.
            channel.basic_publish(
                "", queue, b"hello", pika.BasicProperties(delivery_mode=2), mandatory=True
            )
            method, _, body = channel.basic_get(queue)
            assert body == b"hello"
            channel.basic_ack(method.delivery_tag)
        finally:
            channel.queue_delete(queue)
