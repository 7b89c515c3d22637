"""Queueing jobs from a process that has better to do: it never waits for the broker.

Jobs go through a bounded buffer to a thread, which sends them. What does not fit, or cannot be
sent, is dropped, counted and logged: what is to be done is kept in PostgreSQL, and whoever looks
there offers it again.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Self

from api.core.redis_clients import make_redis
from api.core.tracing.context import TraceContext
from api.core.tracing.spans import sampled_context
from api.jobs.names import EXPIRES_SECONDS, FETCH_TITLE, LOAD_IMPORT, MAX_WAITING, redis_key
from config.redis_urls import is_cluster
from config.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger(__name__)

_BUFFER = 10_000
_STOP_SECONDS = 2.0
# How long a broker that failed is left alone.
_PAUSE_SECONDS = 1.0
# How many are sent before it is looked how many wait.
_LOOK_EVERY = 100
_LOOK_SECONDS = 1.0


class _Job(NamedTuple):
    name: str
    subject: int
    context: TraceContext | None  # of the request that asked for it, where that is traced


class JobQueue:
    """Sends jobs between `start()` and `stop()`; safe for threads and greenlets."""

    def __init__(self, make: Callable[[], Celery], redis_url: str | None, queue_name: str) -> None:
        """`make` is called when there is something to send: most processes have nothing, and
        Celery takes a while to load. `redis_url` is of the Redis that is the broker; None where
        RabbitMQ is, which knows itself when a queue is full."""
        self._make = make
        self._celery: Celery | None = None
        self._redis_url = redis_url
        self._name = queue_name
        self._waiting: queue.Queue[_Job | None] = queue.Queue(_BUFFER)
        self._thread: threading.Thread | None = None
        self._failing = False
        self.lost = 0

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The queue that the settings name; None where there is no broker for jobs."""
        if settings.amqp_url is None and (
            settings.redis_url is None or is_cluster(settings.redis_url)
        ):
            return None

        def make() -> Celery:
            from api.jobs.application import make_celery  # noqa: PLC0415 - as it is said above

            celery = make_celery(settings)
            assert celery is not None  # noqa: S101 - there is a broker
            return celery

        return cls(make, None if settings.amqp_url else settings.redis_url, settings.jobs_queue)

    def start(self) -> None:
        """Begin in this process; a forked server calls it in each worker, after the fork."""
        self._waiting = queue.Queue(_BUFFER)
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send what waits, if that is quick."""
        if self._thread is None:
            return
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(_STOP_SECONDS)

    def fetch_titles(self, link_ids: Sequence[int]) -> None:
        """Have workers fetch the titles of links. Returns at once and raises nothing."""
        self._put(FETCH_TITLE, link_ids)

    def load_import(self, import_id: int) -> None:
        """Have a worker load an import. Returns at once and raises nothing."""
        self._put(LOAD_IMPORT, [import_id])

    def _put(self, name: str, subjects: Sequence[int]) -> None:
        context = sampled_context()
        for number, subject in enumerate(subjects):
            try:
                self._waiting.put_nowait(_Job(name, subject, context))
            except queue.Full:
                self._lose(len(subjects) - number, "too many jobs wait to be sent")
                return

    def _run(self) -> None:
        waiting, sent = self._waiting, 0
        while (job := waiting.get()) is not None:
            try:
                if sent % _LOOK_EVERY == 0:
                    self._look_for_room()
                self._send(job)
            except Exception as error:
                self._lose(1 + self._drain(), f"{type(error).__name__}: {error}")
                threading.Event().wait(_PAUSE_SECONDS)
            else:
                sent += 1
                self._failing = False

    def _send(self, job: _Job) -> None:
        from api.jobs.traced import publishing  # noqa: PLC0415 - it loads Celery, too

        if self._celery is None:
            self._celery = self._make()
        with publishing(job.name, self._name, job.context) as headers:
            self._celery.send_task(
                job.name,
                args=(str(job.subject),),
                headers=headers,
                expires=EXPIRES_SECONDS,
                retry=True,
                # A connection that had ended is made anew, once.
                retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0.1},
            )

    def _look_for_room(self) -> None:
        """Raises where too many jobs wait already: Redis itself would take them all."""
        if self._redis_url is None:
            return
        with make_redis(self._redis_url, _LOOK_SECONDS) as client:
            if client.llen(redis_key(self._name)) >= MAX_WAITING:
                raise queue.Full("no worker takes jobs")

    def _drain(self) -> int:
        """Drop what waits; how many."""
        dropped = 0
        while True:
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return dropped
            if item is None:
                self._waiting.put_nowait(None)
                return dropped
            dropped += 1

    def _lose(self, jobs: int, reason: str) -> None:
        self.lost += jobs
        level = logging.DEBUG if self._failing else logging.WARNING
        self._failing = True
        log.log(level, "%d jobs were not queued, and will be offered again: %s", jobs, reason)
