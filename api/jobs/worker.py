"""The process that does jobs, and looks from time to time for those that were lost."""

from __future__ import annotations

import logging
import random
import threading
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from celery import Celery
from celery.exceptions import CPendingDeprecationWarning
from celery.platforms import SecurityWarning
from celery.signals import setup_logging

from api.audit.service import AuditLog
from api.core.database.routing import Database
from api.core.dependencies import Dependency, dependencies
from api.core.errors import Unavailable
from api.core.evictions import Evictions
from api.core.heartbeat import Heartbeat
from api.core.outbound.client import PageReader
from api.core.outbound.dialing import Dialing
from api.domains.service import DomainService
from api.jobs.broker_lines import follow_broker
from api.jobs.importing import make_loader
from api.jobs.metrics import LATER, JobMeter
from api.jobs.names import FETCH_TITLE, LOAD_IMPORT
from api.jobs.queue import JobQueue
from api.jobs.traced import continuing
from api.services import management_services
from api.targets.known import KnownRules
from api.targets.service import BlockedTargets
from api.titles.service import TitleFetcher
from api.transfers.erasure.work import Eraser
from config.logging import quieten
from config.settings import Settings

log = logging.getLogger(__name__)

# No more of a page is read; titles stand at its beginning.
_PAGE_BYTES = 512 * 1024
_CONNECT_SECONDS = 5.0
_LOOK_SECONDS = 60.0
# Somebody may be waiting for one.
_LOOK_FOR_IMPORTS_SECONDS = 5.0
_ERASE_SECONDS = 5.0
_BEAT_SECONDS = 1.0
_PARTING_SECONDS = 2.0
_COUNT_SECONDS = 5.0
_PATIENCE_SECONDS = 60.0


class _Lost(NamedTuple):
    """Jobs that may be lost, and who offers them again."""

    what: str
    offer: Callable[[], int]
    every_seconds: float


class JobWorker:
    """Runs until SIGTERM, then ends what it has begun."""

    def __init__(
        self,
        settings: Settings,
        celery: Celery,
        jobs: JobQueue,
        dialing: Dialing | None = None,
        meter: JobMeter | None = None,
    ) -> None:
        """`dialing` is how hosts are found and reached, the usual way where it is None; `meter`
        measures the jobs."""
        self._settings = settings
        self._celery = celery
        self._jobs = jobs
        self._meter = meter or JobMeter()
        self._db = Database(settings)
        self._titles = make_fetcher(settings, self._db, jobs, dialing)
        patient = settings.patient(settings.ingest_statement_timeout_seconds)
        self._bulk = Database(patient)
        self._imports = make_loader(patient, self._bulk, jobs)
        self._eraser = make_eraser(settings, self._db)
        self._stopping = threading.Event()
        tasks = {FETCH_TITLE: self._fetch_title, LOAD_IMPORT: self._load_import}
        for name, task in tasks.items():
            traced = settings.otel_exporter_otlp_endpoint
            self._celery.task(continuing(name, task) if traced else task, name=name)

    def run(self) -> int:
        """Work; answers the exit status."""
        # Our own logs are set up already.
        setup_logging.connect(_leave_logging)
        for name in ("celery.worker.strategy", "celery.app.trace"):
            quieten(name, logging.WARNING)  # two lines for each job
        follow_broker(self._celery, _broker_of(self._settings))
        # What it warns root of is pickle; only JSON is taken.
        warnings.filterwarnings("ignore", category=SecurityWarning)
        self._jobs.start()
        for lost in (
            _Lost("titles", self._titles.offer_due, _LOOK_SECONDS),
            _Lost("imports", self._imports.offer_due, _LOOK_FOR_IMPORTS_SECONDS),
        ):
            threading.Thread(
                target=self._look, args=(lost,), name=f"{lost.what}-clock", daemon=True
            ).start()
        threading.Thread(target=self._erase, name="erasures", daemon=True).start()
        living = threading.Thread(target=self._live, name="heartbeat", daemon=True)
        living.start()
        if self._settings.measures:
            threading.Thread(target=self._count, name="job-count", daemon=True).start()
        worker: Any = self._celery.Worker(
            pool="threads",
            concurrency=self._settings.job_threads,
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        # Of what another version may do with jobs whose broker is gone: ours can be done twice.
        # Only now, as Celery has filters of its own.
        warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
        try:
            worker.start()
        finally:
            self._stopping.set()
            # It takes back what it has said of this process.
            living.join(_PARTING_SECONDS)
            self._jobs.stop()
            self._db.dispose()
            self._bulk.dispose()
        return int(worker.exitcode or 0)

    def _live(self) -> None:
        # Not from Celery's own loop: it stands still while the broker is away, which is no reason
        # to have the process killed.
        beat = Heartbeat(self._settings.signpost_home, "worker", _PATIENCE_SECONDS)
        beat.start()
        while not self._stopping.wait(_BEAT_SECONDS):
            beat()
        beat.stop()

    def _count(self) -> None:
        """Keep asking how many jobs wait."""
        dialled = self._celery.connection_for_read()
        failures = (*dialled.connection_errors, *dialled.channel_errors, OSError)
        while not self._stopping.wait(_COUNT_SECONDS):
            try:
                with self._celery.connection_for_read() as connection:
                    queue = self._settings.jobs_queue
                    told = connection.default_channel.queue_declare(queue, passive=True)
            except failures:
                self._meter.queues = {}
                continue
            # Lists in Redis do not tell who takes from them.
            takers = told.consumer_count if self._settings.amqp_url else None
            self._meter.queues = {"jobs": (told.message_count, takers)}

    def _fetch_title(self, link_id: str) -> None:
        # Celery's time limits do not reach threads: the reader's own bounds hold here.
        with self._meter.job(FETCH_TITLE) as run:
            try:
                outcome = self._titles.fetch(int(link_id))
            except Unavailable as error:
                run.outcome = LATER
                log.debug("the title of link %s will be fetched later: %s", link_id, error)
            else:
                log.debug("title of link %s: %s", link_id, outcome)

    def _erase(self) -> None:
        # Who is told to stop leaves it where it is: the next one goes on.
        while not self._stopping.wait(_ERASE_SECONDS):
            try:
                for _ in self._eraser.work():
                    if self._stopping.is_set():
                        return
            except Unavailable as error:
                log.debug("workspaces are erased later: %s", error)
            except Exception:
                log.exception("a workspace could not be erased, and is tried again")

    def _load_import(self, import_id: str) -> None:
        with self._meter.job(LOAD_IMPORT) as run:
            try:
                outcome = self._imports.load(int(import_id))
            except Unavailable as error:
                run.outcome = LATER
                log.debug("import %s will be loaded later: %s", import_id, error)
            else:
                log.debug("import %s: %s", import_id, outcome)

    def _look(self, lost: _Lost) -> None:
        # Each worker looks, and none waits for another: what one has offered is not due to others.
        while not self._stopping.wait(lost.every_seconds * random.uniform(0.5, 1.5)):  # nosec B311 # noqa: S311
            try:
                offered = lost.offer()
            except Unavailable as error:
                log.debug("jobs that were lost are looked for later: %s", error)
            except Exception:
                log.exception("jobs that were lost could not be looked for")
            else:
                if offered:
                    log.info("%d %s are offered again", offered, lost.what)


def make_fetcher(
    settings: Settings, db: Database, jobs: JobQueue, dialing: Dialing | None = None
) -> TitleFetcher:
    """What fetches titles, with the bounds that the settings give."""
    evictions = Evictions(settings.redis_url, settings.redis_timeout_seconds)
    secret = settings.resolved_secret_key()
    domains = DomainService(db, evictions, secret, settings.default_domain)
    links = management_services(settings, db, domains, evictions, KnownRules(db, evictions)).links
    connect_seconds = min(_CONNECT_SECONDS, settings.fetch_seconds)
    reader = PageReader(
        dialing or Dialing(connect_seconds=connect_seconds, threads=2 * settings.job_threads),
        user_agent=f"Mozilla/5.0 (compatible; Signpost; +{settings.public_url}/)",
        total_seconds=settings.fetch_seconds,
        size_bytes=_PAGE_BYTES,
    )
    return TitleFetcher(db, links, reader, jobs.fetch_titles)


def make_eraser(settings: Settings, db: Database) -> Eraser:
    """What erases workspaces."""
    evictions = Evictions(settings.redis_url, settings.redis_timeout_seconds)
    secret = settings.resolved_secret_key()
    blocked = BlockedTargets(db, evictions, KnownRules(db, evictions), secret)
    return Eraser(db, evictions, AuditLog(db, secret), blocked)


def _broker_of(settings: Settings) -> Dependency:
    """What jobs come through, as this process finds it."""
    if settings.amqp_url is None:
        return dependencies.of("redis", settings.redis_url or "")
    return dependencies.of("queue", settings.amqp_url)


def _leave_logging(**_: object) -> None:
    """Nothing: to be there is what keeps Celery from setting up logs of its own."""
