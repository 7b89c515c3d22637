"""Workers, the consumer and the whole are killed or stopped under load: answered is counted."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from typing import Any

import pytest

from tests.running import BROWSER, RunningSignpost, children_of, running, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

VISITORS = 8
_PAUSE_SECONDS = 0.01


class Load:
    """Visitors who follow one link again and again, and remember what they were answered."""

    def __init__(self, port: int, slug: str) -> None:
        self._port = port
        self._slug = slug
        self._end = threading.Event()
        self._lock = threading.Lock()
        self.answered = self.unanswered = 0
        self._threads = [threading.Thread(target=self._visit) for _ in range(VISITORS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Send the visitors home."""
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _visit(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._end.is_set():
            try:
                connection.request("GET", f"/{self._slug}", headers={"User-Agent": BROWSER})
                response = connection.getresponse()
                response.read()
                assert response.status == 302
            except (OSError, HTTPException):
                connection.close()
                self._note(answered=False)
                time.sleep(0.05)
            else:
                self._note(answered=True)
                time.sleep(_PAUSE_SECONDS)
        connection.close()

    def _note(self, answered: bool) -> None:
        with self._lock:
            self.answered += answered
            self.unanswered += not answered


def workers_of(signpost: RunningSignpost) -> list[int]:
    masters = [number for number, line in signpost.children().items() if "gunicorn" in line]
    return [number for master in masters for number in children_of(master)]


def check_counted(signpost: RunningSignpost, link_id: str, load: Load) -> None:
    """Every answered click is counted. One whose answer was lost with its worker may be, too."""
    wait_until(lambda: signpost.clicks(link_id) >= load.answered)
    time.sleep(0.5)  # were one counted twice, it would show by now
    assert load.answered <= signpost.clicks(link_id) <= load.answered + load.unanswered


@pytest.fixture(scope="module")
def signpost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSignpost]:
    with running(tmp_path_factory.mktemp("death") / "home") as started:
        yield started


@pytest.fixture
def link(signpost: RunningSignpost) -> Any:
    return signpost.call("POST", "/api/v1/links", {"url": "https://example.com/"})


def test_killed_workers_are_replaced_and_lose_no_answered_click(
    signpost: RunningSignpost, link: Any
) -> None:
    wait_until(lambda: len(workers_of(signpost)) == 2)
    load = Load(signpost.port, link["slug"])
    try:
        killed: set[int] = set()
        for _ in range(4):
            time.sleep(0.5)
            victim = workers_of(signpost)[0]
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
            wait_until(lambda: len(set(workers_of(signpost)) - killed) == 2)
        time.sleep(0.5)
    finally:
        load.end()
    assert load.answered > 100
    check_counted(signpost, link["id"], load)


def test_killed_consumer_counts_each_click_once(signpost: RunningSignpost, link: Any) -> None:
    load = Load(signpost.port, link["slug"])
    try:
        for _ in range(3):
            time.sleep(1)
            for number, line in signpost.children().items():
                if "consume-clicks" in line:
                    os.kill(number, signal.SIGKILL)
    finally:
        load.end()
    check_counted(signpost, link["id"], load)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_stop_under_load_loses_no_answered_click(
    signpost: RunningSignpost, link: Any, number: signal.Signals
) -> None:
    load = Load(signpost.port, link["slug"])
    try:
        time.sleep(1)
        signpost.stop(number)
    finally:
        load.end()
    assert load.answered > 100
    signpost.start()
    check_counted(signpost, link["id"], load)
