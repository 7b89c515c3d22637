"""Moves sealed segments from the spool folder to the broker, beside the requests of a web worker.

A segment goes as it is, unparsed, as one persistent message; its file is deleted only when the
broker has confirmed it. A crash in between ships it again, which the ingest counts once. While the
broker is away, or its queue is full, segments wait in the spool, up to the spool's own bound.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass, field

from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import NackError

from api.clicks.folder import SpoolFolder
from api.clicks.ingest import RawSegment
from api.clicks.local_spool import LocalSpool
from api.clicks.queue.broker import FAILURES, Broker, close_quietly, why, within
from api.core.metrics.families import Histogram

log = logging.getLogger(__name__)

# How often a worker that sealed nothing looks for what others left behind.
_LOOK_SECONDS = 1.0
_FIRST_BACKOFF_SECONDS = 0.25
_LONGEST_BACKOFF_SECONDS = 5.0
# Longer than any backoff; finds a broker that is gone while nothing is shipped.
_HEARTBEAT_SECONDS = 15.0
# How often the broker is asked how long its queues are.
_COUNT_SECONDS = 5.0
_DURATION_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
# Far below RabbitMQ's own limit, and far above any segment of ours.
_MOST_BYTES = 16 * 1024 * 1024


@dataclass
class ShipperState:
    """What one process has shipped, and how its way to the broker is."""

    shipped: int = 0
    confirmed: int = 0
    refused: int = 0
    up: bool = False
    trouble: str | None = None
    since: float = field(default_factory=time.time)  # when `up` last changed
    durations: Histogram = field(default_factory=lambda: Histogram(_DURATION_BOUNDS))
    # Of each queue what waits in it and who takes from it, as the broker last said.
    queues: dict[str, tuple[int, int]] = field(default_factory=dict)
    latency_ms: float | None = None  # how long the last segment took to be confirmed


class Shipper:
    """Ships in the background between `start()` and `stop()`.

    Several processes ship from one folder: a file's lock says whose it is at the moment.
    """

    def __init__(self, folder: SpoolFolder, broker: Broker) -> None:
        self.state = ShipperState()
        self._folder = folder
        self._broker = broker
        self._connection: BlockingConnection | None = None
        self._channel: BlockingChannel | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin in this process; a forked server calls it in each worker, after the fork."""
        self.state = ShipperState()
        self._source = LocalSpool(self._folder)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._backoff_seconds = self._count_at = 0.0
        self._connection = self._channel = None
        self._thread = threading.Thread(target=self._run, name="shipper", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Tell that a segment is sealed. Cheap; may be called before `start`."""
        if self._thread is not None:
            self._wake.set()

    def stop(self, seconds: float) -> None:
        """Ship what is left within so many seconds; what does not make it stays in the spool."""
        if self._thread is None:
            return
        self._deadline = time.monotonic() + seconds
        self._stopping.set()
        self._wake.set()
        # A moment more than what it was told: an attempt to connect has its own time.
        self._thread.join(timeout=seconds + 1)
        self._thread = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._try_to_ship()
            if self._backoff_seconds:
                # A broker that comes back is not met by all workers in one moment.
                self._stopping.wait(self._backoff_seconds * random.uniform(0.5, 1.0))  # nosec B311 # noqa: S311
            else:
                self._wake.wait(_LOOK_SECONDS * random.uniform(0.75, 1.25))  # nosec B311 # noqa: S311
                self._wake.clear()
        self._source.adopt_now()
        self._try_to_ship()
        close_quietly(self._connection)

    def _try_to_ship(self) -> None:
        """Ship all that waits; a failure of any kind is told once, and tried again later."""
        try:
            self._connect()
            while time.monotonic() < self._deadline and self._ship_one():
                pass
            self._count_waiting()
        except Exception as error:
            if not isinstance(error, FAILURES):
                log.exception("the shipper failed, and begins again")
            self._fail(error)
        else:
            self._backoff_seconds = 0.0
        finally:
            self._source.release()

    def _connect(self) -> None:
        if self._connection is not None and self._connection.is_open:
            self._connection.process_data_events(0)  # heartbeats
        if self._connection is None or self._channel is None or not self._channel.is_open:
            close_quietly(self._connection)
            self._connection = self._broker.connect(_HEARTBEAT_SECONDS)
            with within(self._connection, self._broker.timeout_seconds):
                self._channel = self._connection.channel()
                self._channel.confirm_delivery()
            self._count_at = time.monotonic() + _COUNT_SECONDS
        self._broker.found.answered()
        if not self.state.up:
            self._change(up=True)

    def _count_waiting(self) -> None:
        """Ask how long the queues are, from time to time."""
        if time.monotonic() < self._count_at or self._stopping.is_set():
            return
        assert self._connection is not None  # noqa: S101 - _connect() made both
        assert self._channel is not None  # noqa: S101
        with within(self._connection, self._broker.timeout_seconds):
            self.state.queues = self._broker.count_waiting(self._channel)
        self._count_at = time.monotonic() + _COUNT_SECONDS

    def _ship_one(self) -> bool:
        """Ship the oldest segment that nobody holds; whether there was one."""
        segments = self._source.take(1)
        for segment in segments:
            if len(segment.body) > _MOST_BYTES:
                self._source.reject(segment, f"larger than {_MOST_BYTES} bytes")
            else:
                self._ship(segment)
        return bool(segments)

    def _ship(self, segment: RawSegment) -> None:
        assert self._connection is not None  # noqa: S101 - _connect() made both
        assert self._channel is not None  # noqa: S101
        self.state.shipped += 1
        began = time.perf_counter()
        try:
            with within(self._connection, self._broker.timeout_seconds):
                self._broker.publish(self._channel, segment.name, segment.body)
        except NackError:
            self.state.refused += 1
            raise
        self._broker.found.answered()
        seconds = time.perf_counter() - began
        self.state.latency_ms = round(seconds * 1000, 2)
        self.state.durations.observe(seconds)
        self._source.acknowledge(segment)
        self.state.confirmed += 1
        if self.state.trouble:
            log.warning("clicks are shipped again")
            self.state.trouble = None

    def _fail(self, error: Exception) -> None:
        self._backoff_seconds = min(
            max(self._backoff_seconds * 2, _FIRST_BACKOFF_SECONDS), _LONGEST_BACKOFF_SECONDS
        )
        full = isinstance(error, NackError)
        trouble = "the queue is full" if full else why(error)
        if self.state.trouble is None:
            log.error("clicks wait in the spool, as they cannot be shipped: %s", trouble)
        self.state.trouble = trouble
        if not full:
            self._broker.found.failed(trouble)
            close_quietly(self._connection)
            self._connection = self._channel = None
            if self.state.up:
                self._change(up=False)

    def _change(self, *, up: bool) -> None:
        self.state.up = up
        self.state.since = time.time()
