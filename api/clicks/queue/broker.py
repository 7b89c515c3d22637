"""The broker between spools and consumers: how it is reached, and what is declared there.

A direct exchange leads to the quorum queue of the clicks; what that queue gives up on goes through
a second exchange to the quorum queue of the dead. Both ends declare all of it, so either may come
first. Nothing here is ever dropped by the broker: a queue that is full refuses, and dead letters
leave the first queue only when the second has them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pika
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, AMQPHeartbeatTimeout, ChannelClosedByBroker

from api.core.dependencies import Dependency, dependencies
from config.logging import quieten
from config.settings import Settings
from config.tls import amqp_parameters

log = logging.getLogger(__name__)
# pika logs every failed attempt, at several levels of its own; we say once what changed.
quieten("pika", logging.CRITICAL)

SCHEMA = 1
CONTENT_TYPE = "application/x-ndjson"
REASON_HEADER = "signpost-reason"
FAILURES = (AMQPError, OSError)

# Each loss of a connection, and each consumer that dies, counts as a delivery.
_DELIVERY_LIMIT = 50
# RabbitMQ 4 limits deliveries to 20 where nobody says otherwise; looking at a dead letter is one.
_NEVER = 1_000_000
_ACCESS_REFUSED, _PRECONDITION_FAILED = 403, 406
_CLOSE_SECONDS = 2.0
# A host that is gone says nothing: found so in half a minute, however long the heartbeat is.
_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is, and the names and bounds of what is ours there."""

    url: str
    queue: str
    max_queue_bytes: int
    timeout_seconds: float

    @classmethod
    def of(cls, settings: Settings, url: str) -> Broker:
        """The broker at `url`, with names and bounds from the settings."""
        return cls(
            url,
            settings.amqp_queue,
            settings.amqp_max_queue_bytes,
            settings.amqp_timeout_seconds,
        )

    @property
    def found(self) -> Dependency:
        """The broker as this process finds it."""
        return dependencies.of("queue", self.url)

    @property
    def dead_queue(self) -> str:
        """The queue of what could not be counted, and the exchange before it."""
        return f"{self.queue}.dead"

    def connect(self, heartbeat_seconds: float) -> BlockingConnection:
        """A new connection, with everything declared.

        Raises:
            AMQPError, OSError: the broker is away, or refuses.
        """
        parameters = amqp_parameters(self.url)
        if parameters.heartbeat is None:
            parameters.heartbeat = max(round(heartbeat_seconds), 1)
        parameters.socket_timeout = self.timeout_seconds
        parameters.stack_timeout = self.timeout_seconds
        # A broker short of memory or disk stops reading; to wait for it is to be away from it.
        parameters.blocked_connection_timeout = self.timeout_seconds
        parameters.tcp_options = _KEEPALIVE
        connection = open_connection(parameters)
        try:
            with within(connection, self.timeout_seconds):
                self._declare(connection)
        except FAILURES:
            close_quietly(connection)
            raise
        return connection

    def publish(
        self,
        channel: BlockingChannel,
        name: str,
        body: bytes,
        headers: Mapping[str, object] | None = None,
    ) -> None:
        """Publish a segment; when this returns, a majority of the queue's replicas have it.

        Raises:
            AMQPError, OSError: it is not confirmed. It may have arrived all the same.
        """
        created_ms = name.partition("-")[0]
        told: dict[str, object] = {"schema": SCHEMA, **(headers or {})}
        if created_ms.isdecimal():
            told["created_ms"] = int(created_ms)
        properties = pika.BasicProperties(
            delivery_mode=2, message_id=name, content_type=CONTENT_TYPE, headers=told
        )
        channel.basic_publish(self.queue, self.queue, body, properties, mandatory=True)

    def queued(self) -> int:
        """How many segments wait for a consumer, without those that one holds already.

        Raises:
            AMQPError, OSError: the broker is away.
        """
        connection = self.connect(self.timeout_seconds)
        try:
            with within(connection, self.timeout_seconds):
                return self.count_waiting(connection.channel())["clicks"][0]
        finally:
            close_quietly(connection)

    def count_waiting(self, channel: BlockingChannel) -> dict[str, tuple[int, int]]:
        """Of the queue (`clicks`) and the dead queue (`dead`): messages, and who takes from it.

        Raises:
            AMQPError, OSError: the broker is away.
        """
        counts = {}
        for name, queue in (("clicks", self.queue), ("dead", self.dead_queue)):
            method = channel.queue_declare(queue, passive=True).method
            counts[name] = (method.message_count, method.consumer_count)
        return counts

    def bury(self, channel: BlockingChannel, name: str, body: bytes, reason: str) -> None:
        """Publish what cannot be counted to the dead queue, with the reason.

        Raises:
            AMQPError, OSError: it is not confirmed.
        """
        properties = pika.BasicProperties(
            delivery_mode=2,
            message_id=name,
            content_type=CONTENT_TYPE,
            timestamp=int(time.time()),
            headers={"schema": SCHEMA, REASON_HEADER: reason[:1000]},
        )
        channel.basic_publish(self.dead_queue, self.dead_queue, body, properties, mandatory=True)

    def _declare(self, connection: BlockingConnection) -> None:
        try:
            self._declare_all(connection.channel())
        except ChannelClosedByBroker as error:
            if error.reply_code not in (_ACCESS_REFUSED, _PRECONDITION_FAILED):
                raise
            # An operator may have made the queues with bounds of their own, or keep that right.
            self._look(connection.channel())
            log.warning("the queue %s is used as it is: %s", self.queue, error.reply_text)

    def arguments(self) -> dict[str, dict[str, object]]:
        """What each of our queues is declared with, by name."""
        bound: dict[str, object] = {
            "x-queue-type": "quorum",
            "x-max-length-bytes": self.max_queue_bytes,
            "x-overflow": "reject-publish",
        }
        given_up: dict[str, object] = {
            "x-delivery-limit": _DELIVERY_LIMIT,
            "x-dead-letter-exchange": self.dead_queue,
            "x-dead-letter-routing-key": self.dead_queue,
            "x-dead-letter-strategy": "at-least-once",
        }
        queues: dict[str, dict[str, object]] = {
            self.dead_queue: {"x-delivery-limit": _NEVER},
            self.queue: given_up,
        }
        return {name: bound | own for name, own in queues.items()}

    def _declare_all(self, channel: BlockingChannel) -> None:
        for name, arguments in self.arguments().items():
            channel.exchange_declare(name, "direct", durable=True)
            channel.queue_declare(name, durable=True, arguments=arguments)
            channel.queue_bind(name, name, routing_key=name)
        channel.close()

    def _look(self, channel: BlockingChannel) -> None:
        for name in (self.dead_queue, self.queue):
            channel.exchange_declare(name, passive=True)
            channel.queue_declare(name, passive=True)
        channel.close()


def open_connection(parameters: pika.ConnectionParameters) -> BlockingConnection:
    """A connection, where nothing is declared.

    Raises:
        AMQPError, OSError: the broker is away, or refuses.
    """
    try:
        return BlockingConnection(parameters)
    except (ValueError, AMQPConnectorException) as error:
        # pika's words for a peer that was gone again before it looked, or that says nothing.
        raise ConnectionError(why(error)) from error


@contextmanager
def within(connection: BlockingConnection, seconds: float) -> Iterator[None]:
    """End the connection when the broker has not answered after so long, which raises an AMQPError.

    pika waits for an answer until heartbeats are missed, and a broker that is just starting may
    take connections, send heartbeats, and answer nothing. This ends the stream as pika does when
    heartbeats are missed; it offers no public way.
    """
    loop = connection._impl.ioloop

    def give_up() -> None:
        if connection.is_open:
            error = AMQPHeartbeatTimeout(f"no answer within {seconds:g} seconds")
            connection._impl._terminate_stream(error)

    timer = loop.call_later(seconds, give_up)
    try:
        yield
    finally:
        loop.remove_timeout(timer)


def close_quietly(connection: BlockingConnection | None) -> None:
    """Close a connection that may be gone already."""
    try:
        if connection is not None and connection.is_open:
            with within(connection, _CLOSE_SECONDS):
                connection.close()
    except FAILURES as error:
        log.debug("a connection was not closed in order: %s", why(error))


def why(error: BaseException) -> str:
    """One line of an error of the broker; pika's own often hold another, and no text."""
    inner: object = error
    while isinstance(inner, BaseException):
        error, inner = inner, getattr(inner, "exception", None) or next(iter(inner.args), None)
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
