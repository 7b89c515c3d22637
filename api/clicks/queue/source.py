"""The queue of the clicks as a source of segments, for any number of consumers in parallel."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any, NamedTuple

from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import NackError, UnroutableError

from api.clicks.ingest import RawSegment
from api.clicks.queue.broker import FAILURES, Broker, close_quietly, why, within
from api.clicks.records import count_clicks
from api.core.errors import Unavailable

log = logging.getLogger(__name__)

# Nobody reads from the connection during a transaction: the broker must wait for longer than that.
_HEARTBEAT_SECONDS = 180.0
# How long more is waited for when something has arrived: larger batches are cheaper.
_GATHER_SECONDS = 0.005
# How long the broker may take to deliver what it has; only for those who want all of it.
_DELIVERY_SECONDS = 0.5


class _Delivery(NamedTuple):
    tag: int
    segment: RawSegment
    clicks: int


class QueueSource:
    """Takes what the broker has delivered; used by one thread.

    A lost connection takes back all that is unsettled: the broker delivers it again, here or
    elsewhere, and the ingest knows what it has counted.
    """

    def __init__(self, broker: Broker, prefetch: int) -> None:
        self._broker = broker
        self._prefetch = prefetch
        self._connection: BlockingConnection | None = None
        self._channel: BlockingChannel | None = None
        self._graves: BlockingChannel | None = None
        self._waiting: deque[_Delivery] = deque()
        self._taken: dict[str, _Delivery] = {}
        self._unsettled: dict[int, None] = {}  # tags, in the order of delivery
        self._counted: set[int] = set()  # those that are counted, but not acknowledged yet
        self._arrived = 0
        self._cancelled = False
        self._wants_all = False

    def take(self, most_clicks: int) -> list[RawSegment]:
        """Segments of about `most_clicks` clicks in all; nothing when none has arrived.

        Raises:
            Unavailable: the broker is away. What was taken before is forgotten.
        """
        try:
            self._connect()
            self._settle()
            self._receive(most_clicks)
        except FAILURES as error:
            self._broker.found.failed(why(error))
            self._forget()
            raise Unavailable(f"AMQP_URL: {why(error)}") from error
        except Exception:
            self._forget()  # of a connection in an unknown state nothing good is to be expected
            raise
        self._broker.found.answered()
        taken: list[RawSegment] = []
        clicks = 0
        while self._waiting and clicks < most_clicks:
            delivery = self._waiting.popleft()
            name = delivery.segment.name
            if name in self._taken:  # published twice, and both are here
                name = f"{name}.{delivery.tag}"
                delivery = delivery._replace(segment=delivery.segment._replace(name=name))
            self._taken[name] = delivery
            taken.append(delivery.segment)
            clicks += delivery.clicks
        return taken

    def acknowledge(self, segment: RawSegment) -> None:
        """The segment is counted. Its message is acknowledged with others, soon."""
        delivery = self._taken.pop(segment.name, None)
        if delivery is None:
            return  # forgotten: it comes again, and is known
        self._counted.add(delivery.tag)
        if not self._taken:
            self._try_to_settle()

    def reject(self, segment: RawSegment, reason: str) -> None:
        """The segment cannot be counted: it goes to the dead queue, with the reason."""
        delivery = self._taken.pop(segment.name, None)
        if delivery is None:
            return
        assert self._connection is not None  # noqa: S101 - it brought the delivery
        try:
            with within(self._connection, self._broker.timeout_seconds):
                if self._graves is None:
                    self._graves = self._connection.channel()
                    self._graves.confirm_delivery()
                self._broker.bury(self._graves, segment.name, segment.body, reason)
        except (NackError, UnroutableError):
            # It stays unsettled until the connection ends, and is delivered again: to lay it back
            # now would have us turn it over without a pause.
            log.exception("segment %s finds no place in %s", segment.name, self._broker.dead_queue)
            return
        except FAILURES as error:
            log.warning("segment %s will be delivered again: %s", segment.name, why(error))
            self._forget()
            return
        log.error("segment %s is rejected, see scripts/dead-letters: %s", segment.name, reason)
        self._counted.add(delivery.tag)
        if not self._taken:
            self._try_to_settle()

    def release(self) -> None:
        """Give up what was taken and neither acknowledged nor rejected; it is taken again.

        It stays with this process: the broker counts deliveries, and a database that is away for
        an hour must not make dead letters of good segments.
        """
        self._try_to_settle()
        back = sorted(self._taken.values())
        self._taken.clear()
        self._waiting.extendleft(reversed(back))

    def adopt_now(self) -> None:
        """From now on wait for what the broker has, instead of only taking what has arrived."""
        self._wants_all = True

    def close(self) -> None:
        """Let go; what is unsettled is delivered to others."""
        self._try_to_settle()
        self._forget()

    def _connect(self) -> None:
        if (
            self._channel is not None
            and self._channel.is_open
            and self._connection is not None
            and self._connection.is_open
            and not self._cancelled
        ):
            return
        self._forget()
        self._connection = self._broker.connect(_HEARTBEAT_SECONDS)
        with within(self._connection, self._broker.timeout_seconds):
            self._channel = self._connection.channel()
            # For each consumer: quorum queues know no other kind.
            self._channel.basic_qos(prefetch_count=self._prefetch, global_qos=False)
            self._channel.add_on_cancel_callback(self._on_cancel)
            self._channel.basic_consume(self._broker.queue, self._on_message)
        log.info("takes clicks from %s", self._broker.queue)

    def _receive(self, most_clicks: int) -> None:
        assert self._connection is not None  # noqa: S101 - _connect() made it
        self._connection.process_data_events(0)
        while self._waiting_clicks() < most_clicks:
            before = self._arrived
            self._connection.process_data_events(_GATHER_SECONDS)
            if self._arrived == before and not (self._wants_all and self._more_comes()):
                return

    def _more_comes(self) -> bool:
        """Wait for a delivery where nothing has arrived; whether there was one."""
        assert self._connection is not None  # noqa: S101
        assert self._channel is not None  # noqa: S101
        before = self._arrived
        deadline = time.monotonic() + _DELIVERY_SECONDS
        while not self._waiting and time.monotonic() < deadline:
            self._connection.process_data_events(_DELIVERY_SECONDS / 5)
        return self._arrived > before

    def _waiting_clicks(self) -> int:
        return sum(delivery.clicks for delivery in self._waiting)

    def _on_message(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._arrived += 1
        tag = method.delivery_tag
        self._unsettled[tag] = None
        name = properties.message_id or f"nameless-{tag}"
        segment = RawSegment(name, body, (properties.headers or {}).get("traceparent"))
        self._waiting.append(_Delivery(tag, segment, count_clicks(body)))

    def _on_cancel(self, _method: Any) -> None:
        self._cancelled = True  # the queue was deleted, or moved

    def _try_to_settle(self) -> None:
        try:
            self._settle()
        except Exception as error:
            log.warning("counted segments will be delivered again: %s", why(error))
            self._forget()

    def _settle(self) -> None:
        """Acknowledge what is counted: all up to the first that is not in one frame."""
        if not self._counted or self._channel is None or self._connection is None:
            return
        through = 0
        for tag in self._unsettled:
            if tag not in self._counted:
                break
            through = tag
        with within(self._connection, self._broker.timeout_seconds):
            if through:
                self._channel.basic_ack(through, multiple=True)
            for tag in sorted(self._counted):
                if tag > through:
                    self._channel.basic_ack(tag)
                del self._unsettled[tag]
        self._counted.clear()

    def _forget(self) -> None:
        close_quietly(self._connection)
        self._connection = self._channel = self._graves = None
        self._cancelled = False
        self._waiting.clear()
        self._taken.clear()
        self._unsettled.clear()
        self._counted.clear()
