"""A visitor follows a link, and whoever watches sees it: through every process, and a restart."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.live.reader import LiveReader
from tests.running import BROWSER, RunningSignpost, children_of, running, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes by name")


@pytest.fixture(scope="module")
def signpost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSignpost]:
    with running(tmp_path_factory.mktemp("live") / "home") as signpost:
        yield signpost


def visit(signpost: RunningSignpost, slug: str) -> None:
    connection = HTTPConnection("127.0.0.1", signpost.port, timeout=10)
    connection.request("GET", f"/{slug}?utm_source=mail", headers={"User-Agent": BROWSER})
    assert connection.getresponse().status == 302
    connection.close()


def test_visit_is_seen_within_seconds(signpost: RunningSignpost) -> None:
    link = signpost.call("POST", "/api/v1/links", {"url": "https://example.com/"})
    with LiveReader(signpost.port, signpost.key, f"/links/{link['id']}/live") as reader:
        for number in range(1, 4):
            started = time.monotonic()
            visit(signpost, link["slug"])
            event = reader.wait_for("click", number)[-1]
            assert time.monotonic() - started < 5
            assert event.data["link_id"] == link["id"]
            assert event.data["browser"] == "Firefox"
            assert event.data["bot"] is False
        assert signpost.call("GET", f"/api/v1/links/{link['id']}")["clicks"] == 3


def test_watcher_outlives_a_restart_of_redis(signpost: RunningSignpost) -> None:
    link = signpost.call("POST", "/api/v1/links", {"url": "https://example.com/"})
    with LiveReader(signpost.port, signpost.key, "/live") as reader:
        (valkey,) = [number for number, line in signpost.children().items() if "valkey" in line]
        os.kill(valkey, signal.SIGKILL)
        lost, resumed = reader.wait_for("gap", 2, seconds=40)
        assert (lost.data["reason"], resumed.data["reason"]) == ("lost", "resumed")
        # The consumer may not have noticed yet that Redis is back; the click is counted anyhow.
        deadline = time.monotonic() + 30
        while not reader.named("click"):
            assert time.monotonic() < deadline
            visit(signpost, link["slug"])
            time.sleep(0.5)


def test_stop_is_quick_while_somebody_watches(tmp_path: Path) -> None:
    with running(tmp_path / "home", WEB_CONCURRENCY="1") as signpost:
        (web,) = [number for number, line in signpost.children().items() if "gunicorn" in line]
        (worker,) = children_of(web)
        with LiveReader(signpost.port, signpost.key, "/live") as reader:
            os.kill(worker, signal.SIGTERM)
            reader.wait_end(3)
            assert reader.ended_whole
        wait_until(lambda: worker not in children_of(web) and children_of(web))
        with LiveReader(signpost.port, signpost.key, "/live") as reader:
            assert reader.status == 200
            started = time.monotonic()
            assert signpost.stop() == 0
            assert time.monotonic() - started < 15
            assert reader.ended_whole
