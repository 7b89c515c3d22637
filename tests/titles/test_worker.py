"""From the creation of a link through a broker and a worker to its title."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from api.jobs.queue import JobQueue
from config.settings import Settings
from tests.caller import Caller
from tests.redirects.conftest import AppMaker, closed_port, make_app, own_redis, shared
from tests.redirects.shared_redis import SharedRedis
from tests.redirects.wire.server import WebServer
from tests.running import ROOT
from tests.scripting import run_script
from tests.titles.servers import Server, page, serving

__all__ = ["closed_port", "make_app", "own_redis", "shared"]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(page("From afar")) as running:
        yield running


@pytest.fixture(params=["redis", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker(request: pytest.FixtureRequest, shared: SharedRedis) -> dict[str, str]:
    """The settings of a broker, with a queue that is only of this test."""
    settings = {
        "FETCH_TITLES": "true",
        "REDIS_URL": shared.url,
        "JOBS_QUEUE": f"test.jobs.{uuid.uuid4().hex[:12]}",
    }
    if request.param == "rabbitmq":
        settings["AMQP_URL"] = os.environ["TEST_AMQP_URL"]
        request.addfinalizer(lambda: forget(settings))
    return settings


def forget(settings: dict[str, str]) -> None:
    import pika

    with pika.BlockingConnection(pika.URLParameters(settings["AMQP_URL"])) as connection:
        channel = connection.channel()
        channel.queue_delete(settings["JOBS_QUEUE"])
        channel.exchange_delete(settings["JOBS_QUEUE"])


@contextmanager
def working(environ: dict[str, str], port: int) -> Iterator[subprocess.Popen[str]]:
    """A worker, whose public internet is the server at `port`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.titles.worker", str(port)],
        env={**os.environ, **environ},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def title_of(caller: Caller, link: dict[str, Any]) -> Any:
    return (caller.get(f"/links/{link['id']}").json or {})["title"]


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_title_is_there_within_seconds_and_the_worker_ends_in_order(
    environ: dict[str, str],
    broker: dict[str, str],
    make_app: AppMaker,
    caller: Caller,
    server: Server,
) -> None:
    app = make_app(**broker)
    owner = Caller(app, caller.identity, caller.workspace_id, caller.key)
    waiting = [owner.create_link(f"http://example.com/{number}") for number in range(5)]
    with working(environ | broker, server.port) as worker:
        wait_for(lambda: all(title_of(owner, link) == "From afar" for link in waiting))
        started = time.monotonic()
        later = owner.create_link("http://example.com/later")
        wait_for(lambda: title_of(owner, later) == "From afar")
        assert time.monotonic() - started < 5
        worker.send_signal(signal.SIGTERM)
        output, _ = worker.communicate(timeout=20)
    assert worker.returncode == 0, output
    assert "Traceback" not in output
    assert "error" not in output.lower(), output


def test_job_that_a_killed_worker_held_is_done_by_another(
    environ: dict[str, str],
    broker: dict[str, str],
    make_app: AppMaker,
    caller: Caller,
    server: Server,
) -> None:
    if "AMQP_URL" not in broker:
        pytest.skip("Redis gives it to another after ten minutes: found again through the database")
    app = make_app(**broker)
    owner = Caller(app, caller.identity, caller.workspace_id, caller.key)
    held = server.answer
    server.answer = lambda connection, asked: time.sleep(30)
    link = owner.create_link("http://example.com/")
    with working(environ | broker, server.port) as worker:
        wait_for(lambda: server.asked)
        worker.kill()
        worker.wait()
    server.answer = held
    runtime = app.extensions["signpost"]
    with runtime.db.write(0) as session:  # as if its time were over
        session.connection().exec_driver_sql("UPDATE title_fetches SET due_at = now()")
    with working(environ | broker, server.port):
        wait_for(lambda: title_of(owner, link) == "From afar")


def test_full_or_absent_broker_costs_no_more_than_the_jobs(
    settings: Settings,
    shared: SharedRedis,
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
) -> None:
    def queue_of(url: str) -> JobQueue:
        made = JobQueue.of(Settings.load(environ | {"REDIS_URL": url, "JOBS_QUEUE": "full"}))
        assert made is not None
        made.start()
        return made

    away = queue_of(f"redis://127.0.0.1:{closed_port}/0")
    started = time.monotonic()
    away.fetch_titles(range(20_000))
    assert time.monotonic() - started < 0.5
    wait_for(lambda: away.lost >= 10_000)
    away.stop()

    monkeypatch.setattr("api.jobs.queue.MAX_WAITING", 5)
    full = queue_of(shared.url)
    full.fetch_titles(range(150))
    wait_for(lambda: full.lost == 50)
    client = redis.Redis.from_url(shared.url)
    assert client.llen("signpost:jobs:full") == 100
    full.stop()


def test_worker_without_a_broker_says_so(environ: dict[str, str]) -> None:
    done = run_script("run-jobs", env={**os.environ, **environ, "REDIS_URL": "", "AMQP_URL": ""})
    assert done.returncode != 0
    assert "REDIS_URL" in done.stderr


def test_procfile_names_the_worker() -> None:
    lines = (Path(ROOT) / "Procfile").read_text().splitlines()
    assert "worker: scripts/run-jobs" in lines


def test_web_server_queues_jobs_beside_its_requests(
    environ: dict[str, str],
    broker: dict[str, str],
    caller: Caller,
    server: Server,
    tmp_path: Path,
) -> None:
    settings = {name: value for name, value in environ.items() if name != "SIGNPOST_HOME"}
    web = WebServer(tmp_path / "web", settings | broker, fast=True)
    web.start()
    try:
        web.wait_ready()
        with working(environ | broker, server.port):
            status, link = web.call(caller.key, "POST", "/links", {"url": "http://example.com/"})
            assert status == 201
            wait_for(lambda: title_of(caller, link) == "From afar")
        # Without a broker that answers, or a worker, links are made as before.
        status, _ = web.call(caller.key, "POST", "/links", {"url": "http://example.com/"})
        assert status == 201
    finally:
        web.stop()
    assert web.errors == []
