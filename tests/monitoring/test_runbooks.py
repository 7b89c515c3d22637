"""Runbooks of docs/operations.md, tried: an alert is provoked in a running system, and cured."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import cycle

import psycopg2
import pytest

from api.jobs.application import make_celery
from api.jobs.names import FETCH_TITLE
from config.settings import Settings
from tests.monitoring.watched import Watched, watched
from tests.running import children_of
from tests.services.replication import replicated

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def whole() -> Iterator[Watched]:
    """Everything there is, on a host: broker, consumer, and people who follow links."""
    with (
        watched(broker=True, DEFAULT_PLAN="standard", DB_POOL_TIMEOUT_SECONDS="0.5") as system,
        system.visitors(),
    ):
        system.start_jobs()
        yield system


@pytest.fixture
def system(whole: Watched) -> Iterator[Watched]:
    """The same, while nothing is wrong before and after."""
    whole.end()
    yield whole
    whole.system.recover()
    whole.end()


def unknown_links(system: Watched) -> Callable[[], object]:
    """Visits of links that no cache knows."""
    slugs = cycle([link["slug"] for link in system.links[20:]])
    return lambda: [system.status(f"/{next(slugs)}") for _ in range(20)]


def calls(system: Watched) -> Callable[[], object]:
    """Calls of the API."""
    return lambda: [system.status("/api/v1/links", system.system.key) for _ in range(5)]


@contextmanager
def frozen(process_id: int | None) -> Iterator[None]:
    """A process that is there and does nothing."""
    assert process_id is not None
    os.kill(process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process_id, signal.SIGCONT)


@contextmanager
def held_up(system: Watched, table: str = "links") -> Iterator[int]:
    """A statement that holds up all others on a table; its process in PostgreSQL."""
    with closing(psycopg2.connect(system.system.postgres.url)) as connection:
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield connection.get_backend_pid()


@contextmanager
def renamed(system: Watched, table: str) -> Iterator[None]:
    """A table that cannot be found."""
    with closing(psycopg2.connect(system.system.postgres.url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
            try:
                yield
            finally:
                cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")


def end_statement(system: Watched, process_id: int) -> None:
    """As the runbook says."""
    with (
        closing(psycopg2.connect(system.system.postgres.url)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_terminate_backend(%s)", [process_id])
        assert cursor.fetchone() == (True,)


def test_broker_away(system: Watched) -> None:
    system.part("rabbitmq").service.stop()
    system.fire("SignpostBrokerDown", "SignpostSpoolNotDraining")
    assert system.status(f"/{system.links[0]['slug']}") == 302
    system.system.recover()
    system.end("SignpostBrokerDown", "SignpostSpoolNotDraining")


def test_no_consumers(system: Watched) -> None:
    system.stop_consumer()
    system.fire("SignpostNoConsumers", "SignpostIngestStopped", "SignpostProcessGone")
    time.sleep(10)  # what waits now is late when it is counted
    system.start_consumer()
    system.fire("SignpostClickDelayBurnFast", "SignpostClickDelayBurnSlow")
    system.end()


def test_consumer_that_waits_for_postgresql(system: Watched) -> None:
    over = threading.Event()

    def hold_up() -> None:
        while not over.is_set():
            with held_up(system, "clicks"):
                over.wait(3)

    # Two in turns, between which the consumer has a transaction: each of them waits.
    blocking = [threading.Thread(target=hold_up) for _ in range(2)]
    for thread in blocking:
        thread.start()
    try:
        system.fire("SignpostIngestBehind")
    finally:
        over.set()
        for thread in blocking:
            thread.join()
    system.end()


def test_redirects_and_calls_that_fail_without_a_database(system: Watched) -> None:
    visit, call = unknown_links(system), calls(system)

    def meanwhile() -> None:
        visit()
        call()

    system.part("postgres").service.stop()
    system.fire(
        "SignpostDatabaseDown",
        "SignpostRedirectErrorsBurnFast",
        "SignpostRedirectErrorsBurnSlow",
        "SignpostApiErrors",
        meanwhile=meanwhile,
    )
    system.system.recover()
    system.end(meanwhile=meanwhile)


def test_dead_letters(system: Watched) -> None:
    before = system.prometheus.ask("sum(signpost_ingest_rejected_total)")
    spool = system.system.home / "spool"
    (spool / "0000000000001-poison.ready").write_bytes(b"\x00 no click at all\n")
    system.fire("SignpostDeadLetters")
    assert system.prometheus.ask("sum(signpost_ingest_rejected_total)") != before
    (letter,) = system.script("scripts/dead-letters", "list")["data"]
    system.system.run_script("scripts/dead-letters", "drop", letter["id"], "--yes")
    assert system.script("scripts/dead-letters", "list")["data"] == []
    system.end("SignpostDeadLetters")


def test_redis_away(system: Watched) -> None:
    call = calls(system)
    system.part("valkey").service.stop()
    system.fire("SignpostRedisDown", "SignpostLimitsInProcess", meanwhile=call)
    assert system.status(f"/{system.links[0]['slug']}") == 302
    system.system.recover()
    system.system.run_script("scripts/warm-cache")
    system.end("SignpostRedisDown", "SignpostLimitsInProcess", meanwhile=call)


def test_workers_that_die(system: Watched) -> None:
    master = system.part("master").service.process_id
    assert master is not None

    def kill() -> None:
        for worker in list(children_of(master)):
            os.kill(worker, signal.SIGKILL)
        time.sleep(1)

    system.fire("SignpostWorkersDying", meanwhile=kill)
    system.end("SignpostWorkersDying")


def test_slow_redirects_and_a_slow_api(system: Watched) -> None:
    with held_up(system) as blocking:
        callers = [threading.Thread(target=calls(system)) for _ in range(12)]
        # At once: there is one link for each.
        visitors = [
            threading.Thread(target=system.status, args=[f"/{link['slug']}"])
            for link in system.links[20:140]
        ]
        for thread in callers + visitors:
            thread.start()
        system.fire("SignpostPoolExhausted")
        end_statement(system, blocking)
        for thread in callers + visitors:
            thread.join()
    system.fire(
        "SignpostRedirectLatencyBurnFast", "SignpostRedirectLatencyBurnSlow", "SignpostApiSlow"
    )
    system.end()


def test_event_loop_that_is_late(system: Watched) -> None:
    master = system.part("master").service.process_id
    assert master is not None

    def hiccup() -> None:
        with ExitStack() as stack:
            for worker in children_of(master):
                stack.enter_context(frozen(worker))
            time.sleep(0.8)

    system.fire("SignpostEventLoopLate", meanwhile=hiccup)
    system.end()


def test_jobs_that_fail(system: Watched) -> None:
    celery = make_celery(Settings.load(system.system.environ()))
    system.fire(
        "SignpostJobsFailing", meanwhile=lambda: celery.send_task(FETCH_TITLE, ["no number"])
    )
    assert "no number" in (system.system.folder / "worker.log").read_text()
    system.end()


def test_audit_events_that_are_lost(system: Watched) -> None:
    with renamed(system, "audit_events"):
        system.fire("SignpostAuditEventsLost", meanwhile=system.create_link)
    told = (system.system.folder / "web.log").read_text()
    assert "an audit event was not written" in told and "link.create" in told
    system.end()


def test_worker_that_is_blocked(system: Watched) -> None:
    master = system.part("master").service.process_id
    assert master is not None
    with frozen(next(iter(children_of(master)))):
        system.fire("SignpostOverloaded")
    system.end("SignpostOverloaded", "SignpostEventLoopLate")


def test_web_server_that_hangs(system: Watched) -> None:
    master = system.part("master").service.process_id
    assert master is not None
    workers = list(children_of(master))
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        system.fire("SignpostTargetDown")
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
    system.end("SignpostTargetDown")


def test_spool_that_fills_and_loses_clicks() -> None:
    with watched(broker=False, SPOOL_MAX_BYTES="1000000") as system:
        system.stop_consumer()
        with system.visitors(per_second=1500):
            system.fire("SignpostSpoolFilling")
            system.fire("SignpostClicksLost")
            assert system.status("/health/ready") == 503
        assert system.status(f"/{system.links[0]['slug']}") == 302
        system.start_consumer()
        system.end()
        system.until(lambda: system.status("/health/ready") == 200, 60)


def test_replica_that_lags_or_is_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    with replicated(tmp_path_factory.mktemp("replicated"), standbys=1) as servers:
        (standby,) = servers.standbys
        urls = {"DATABASE_URL": servers.primary.url, "DATABASE_REPLICA_URLS": standby.url}
        with watched(broker=False, **urls, DB_MAX_REPLICA_LAG_SECONDS="2") as system:
            system.end()
            standby.pause_replay()
            system.fire("SignpostReplicaNotRead", meanwhile=system.create_link)
            standby.resume_replay()
            system.end()

            standby.stop()
            system.fire("SignpostReplicaNotRead", meanwhile=calls(system))
            standby.start()
            system.end()
