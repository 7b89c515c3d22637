"""Runbooks of docs/operations.md, tried: an alert is provoked in a running system, and cured."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import cycle

import psycopg2
import pytest

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
def held_up(system: Watched) -> Iterator[int]:
    """A statement that holds up all others on links; its process in PostgreSQL."""
    with closing(psycopg2.connect(system.system.postgres.url)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE links IN ACCESS EXCLUSIVE MODE")
        yield connection.get_backend_pid()


def end_statement(system: Watched, process_id: int) -> None:
    """As the runbook says."""
    with (
        closing(psycopg2.connect(system.system.postgres.url)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_terminate_backend(%s)", [process_id])
        assert cursor.fetchone() == (True,)


def test_slow_redirects_and_a_slow_api(system: Watched) -> None:
    with held_up(system) as blocking:
        visitors = [threading.Thread(target=unknown_links(system)) for _ in range(4)]
        callers = [threading.Thread(target=calls(system)) for _ in range(12)]
        for thread in visitors + callers:
            thread.start()
        system.fire("SignpostPoolExhausted")
        end_statement(system, blocking)
        for thread in visitors + callers:
            thread.join()
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
