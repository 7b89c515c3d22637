"""The other ends: who is told, and who asks for metrics."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

from api.core.embedded.commands import CommandService
from api.core.embedded.errors import EmbeddedError
from bench.telemetry_cost.layers import SCRAPE_TOKEN, Layer
from tests.running import ROOT, clean_environ
from tests.services.network import free_ports

_SCRAPE_SECONDS = 5.0
_START_SECONDS = 20.0
_SENDING_SECONDS = 10.0


class Scraper:
    """Asks for metrics as Prometheus does, within a context."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._end = threading.Event()
        self._failed: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def complaints(self) -> list[str]:
        """What was answered in place of metrics."""
        return self._failed

    def _run(self) -> None:
        while not self._end.wait(_SCRAPE_SECONDS):
            for port in self._ports:
                status = _ask(port, "/metrics", SCRAPE_TOKEN)[0]
                if status != 200:
                    self._failed.append(f"metrics were answered with {status}")


@dataclass(frozen=True, slots=True)
class Receivers:
    """Who is told."""

    port: int

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def counts(self) -> dict[str, dict[str, int]]:
        """What came so far, by layer."""
        found: dict[str, dict[str, int]] = json.loads(_ask(self.port, "/")[1])
        return found

    def counts_after(self, layers: Sequence[Layer]) -> dict[str, dict[str, int]]:
        """What came when all had time to send; a batch of spans waits for five seconds."""
        expected = {layer.slug for layer in layers if layer.spans}
        _wait(lambda: expected <= self.counts()["spans"].keys(), _SENDING_SECONDS)
        return self.counts()


@contextmanager
def started_receivers(folder: Path) -> Iterator[Receivers]:
    port = free_ports(1)[0]
    service = CommandService(
        "receivers",
        [sys.executable, "-m", "bench.telemetry_cost.receivers", str(port)],
        environ=clean_environ(folder),
        folder=ROOT,
        lock=folder / "receivers.lock",
        log=folder / "receivers.log",
        grace_seconds=1.0,
    )
    receivers = Receivers(port)
    service.start()
    try:
        if not _wait(lambda: _answers(port), _START_SECONDS):
            raise EmbeddedError(f"nobody is there to be told, see {folder / 'receivers.log'}")
        yield receivers
    finally:
        service.stop()


def _answers(port: int) -> bool:
    try:
        return _ask(port, "/")[0] == 200
    except OSError:
        return False


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _ask(port: int, path: str, token: str = "") -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
