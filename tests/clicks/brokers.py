"""Queues of a test's own, on the RabbitMQ of the test run."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from api.clicks.ingest import RawSegment
from api.clicks.queue.broker import Broker, close_quietly


@contextmanager
def new_broker(**changes: Any) -> Iterator[Broker]:
    """A broker whose queues nobody else uses; they are deleted afterwards."""
    values = {"max_queue_bytes": 1 << 32, "timeout_seconds": 5.0} | changes
    broker = Broker(os.environ["TEST_AMQP_URL"], f"test.{uuid.uuid4().hex[:12]}", **values)
    close_quietly(broker.connect(60))  # declares them
    yield broker
    with channel_of(broker) as channel:
        for name in (broker.queue, broker.dead_queue):
            channel.queue_delete(name)
            channel.exchange_delete(name)


@contextmanager
def channel_of(broker: Broker) -> Iterator[BlockingChannel]:
    """A channel of a connection of its own."""
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        yield connection.channel()


def messages_in(broker: Broker, queue: str) -> int:
    """How many messages wait, not counting those that a consumer holds."""
    with channel_of(broker) as channel:
        count: int = channel.queue_declare(queue, passive=True).method.message_count
        return count


def put_into(queue_of: Broker, *segments: RawSegment) -> None:
    """Publish segments as a shipper does."""
    with channel_of(queue_of) as channel:
        channel.confirm_delivery()
        for segment in segments:
            queue_of.publish(channel, segment.name, segment.body)
