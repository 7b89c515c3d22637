"""Replicas that lag, end or hang: they are left out, nobody fails, and they come back slowly."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import make_url

from tests.caller import Caller
from tests.conftest import OPERATOR
from tests.redirects.proxy import Relay
from tests.replicas.site import Site, reads_of, replicas_of, within
from tests.scripting import run_script


@contextmanager
def asking(caller: Caller, path: str, threads: int = 4) -> Iterator[list[tuple[int, float]]]:
    """The status of each of many requests, and the seconds that it took."""
    told: list[tuple[int, float]] = []
    stopped = threading.Event()

    def ask() -> None:
        while not stopped.is_set():
            started = time.monotonic()
            status = caller.get(path).status_code
            told.append((status, time.monotonic() - started))

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(ask) for _ in range(threads)]
        try:
            yield told
        finally:
            stopped.set()
        for future in futures:
            future.result()


def is_read(app: Flask, number: int) -> Callable[[], bool]:
    return lambda: replicas_of(app).replicas[number].usable


def health(app: Flask) -> dict[str, dict[str, object]]:
    answer = app.test_client().get("/health/ready", headers=OPERATOR)
    assert answer.status_code == 200
    return dict(answer.json or {})


def test_a_replica_that_lags_is_left_out_and_told_of_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    app = site.process(DB_MAX_REPLICA_LAG_SECONDS="2")
    caller = site.caller(app)
    slow = site.servers.standbys[0]
    site.servers.settle()
    slow.pause_replay()
    try:
        caplog.clear()

        def is_left_out() -> bool:
            caller.create_link()
            return not is_read(app, 0)()

        started = time.monotonic()
        assert within(6, is_left_out)
        assert time.monotonic() - started > 1.5
        assert is_read(app, 1)()

        # What somebody was told of is told to others for a second.
        assert within(3, lambda: health(app)["status"] == "degraded")
        told = health(app)
        check = told["checks"]["main-replica-1"]
        assert (check["status"], check["state"]) == ("down", "lagging")  # type: ignore[index]
        assert told["checks"]["main-replica-2"]["status"] == "up"  # type: ignore[index]
        metrics = {
            (sample.name, sample.labels.get("replica")): sample.value
            for family in text_string_to_metric_families(
                app.test_client().get("/metrics", headers=OPERATOR).text
            )
            for sample in family.samples
        }
        assert metrics["signpost_replica_up", "main-replica-1"] == 0
        assert metrics["signpost_replica_up", "main-replica-2"] == 1
        assert metrics["signpost_replica_lag_seconds", "main-replica-1"] > 2
        assert metrics["signpost_replica_ejections_total", "main-replica-1"] == 1
        assert metrics["signpost_primary_up", None] == 1
        done = run_script("doctor", "--json", "--only", "replicas", env=os.environ | site.environ)
        first, second = json.loads(done.stdout)["findings"]
        assert (first["status"], first["found"]) == ("warning", "replay is paused")
        assert (second["status"], second["check"]) == ("ok", "replica main-replica-2")
        before = replicas_of(app).replicas[0].reads
        for _ in range(20):
            assert caller.get("/links").status_code == 200
        assert replicas_of(app).replicas[0].reads == before
    finally:
        slow.resume_replay()
    assert within(5, is_read(app, 0))
    assert caplog.text.count("main-replica-1 is down: it lags") == 1
    assert caplog.text.count("main-replica-1 is up again") == 1
    assert within(3, lambda: health(app)["checks"]["main-replica-1"]["status"] == "up")


def test_a_replica_that_is_killed_under_load_fails_nobody_and_returns_slowly(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    app = site.process()
    caller = site.caller(app)
    caller.create_link()
    site.servers.settle()
    victim = site.servers.standbys[0]

    with asking(caller, "/links") as told:
        assert within(5, lambda: replicas_of(app).replicas[0].reads > 20)
        caplog.clear()
        victim.kill()
        assert within(5, lambda: not is_read(app, 0)())
        time.sleep(0.5)
        victim.start()
        started = time.monotonic()
        assert within(10, is_read(app, 0))
        # Three answers in a row, half a second apart.
        assert time.monotonic() - started > 0.5

    assert {status for status, _ in told} == {200}
    assert max(seconds for _, seconds in told) < 2.5
    assert caplog.text.count("main-replica-1 is down") == 1
    assert caplog.text.count("main-replica-1 is up again") == 1


def test_a_replica_that_hangs_costs_each_who_waits_one_short_timeout(site: Site) -> None:
    url = make_url(site.servers.standbys[0].url)
    assert url.port is not None
    with Relay("127.0.0.1", url.port) as relay:
        through = url.set(port=relay.port).render_as_string(hide_password=False)
        app = site.process(DATABASE_REPLICA_URLS=f"{through},{site.servers.standbys[1].url}")
        caller = site.caller(app)
        caller.create_link()
        site.servers.settle()
        with asking(caller, "/links") as told:
            assert within(5, lambda: replicas_of(app).replicas[0].reads > 20)
            hung = len(told)
            relay.hang()
            assert within(5, lambda: not is_read(app, 0)())
            time.sleep(1)

    assert {status for status, _ in told} == {200}
    waited = [seconds for _, seconds in told[hung:] if seconds > 0.7]
    assert 1 <= len(waited) <= 4
    # Who was connecting waits for that.
    assert max(waited) < 4


def test_without_any_replica_the_primary_does_it_all(site: Site) -> None:
    app = site.process(DATABASE_REPLICA_URLS="postgresql://nobody@127.0.0.1:1/none")
    caller = site.caller(app)
    link = caller.create_link()
    assert caller.get(f"/links/{link['id']}").json == link
    assert site.visitor(app).follow(link).status_code == 302
    assert reads_of(app) == 0
    assert replicas_of(app).to_primary["no replica is up"]
    assert within(3, lambda: health(app)["checks"]["main-replica-1"]["status"] == "down")  # type: ignore[index]
    check = health(app)["checks"]["main-replica-1"]
    assert (check["status"], check["state"]) == ("down", "away")  # type: ignore[index]
