"""A real gunicorn with one worker, as the Procfile starts it, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from api.core.embedded import processes
from tests.redirects.wire.spool import SpoolReader
from tests.running import ROOT, children_of, clean_environ
from tests.services.network import free_ports

_COMMAND = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"]
_START_SECONDS = 60.0
_STOP_SECONDS = 40.0


@contextmanager
def side_by_side(folder: Path, settings: Mapping[str, str]) -> Iterator[list[WebServer]]:
    """Two servers over the same database and Redis, as fast as they can, each with a home."""
    environ = {name: value for name, value in settings.items() if name != "SIGNPOST_HOME"}
    made = [WebServer(folder / f"home{number}", environ, fast=True) for number in range(2)]
    for server in made:
        server.start()
    try:
        for server in made:
            server.wait_ready()
        yield made
    finally:
        for server in made:
            server.ask_to_stop()
        for server in made:
            server.stop()


class WebServer:
    """Runs between `start()` and `stop()`. Its clicks stay in the spool until they are read."""

    def __init__(
        self, home: Path, settings: Mapping[str, str], *, fast: bool, stock: bool = False
    ) -> None:
        """`stock`: with the worker that comes with gunicorn, in place of ours."""
        self.port = free_ports(1)[0]
        self._command = [*_COMMAND, "--worker-class", "gevent"] if stock else _COMMAND
        self.fast = fast
        self._home = home
        self._log = home.with_name(f"{home.name}.log")
        self._settings = {
            "WEB_CONCURRENCY": "1",
            # A worker that is replaced ends kept connections, at different moments in each server.
            "GUNICORN_MAX_REQUESTS": "0",
            "PYTHONHASHSEED": "0",  # else the order of `Allow` is another in each process
            **settings,
            "SIGNPOST_HOME": str(home),
            "PORT": str(self.port),
            "REDIRECT_FAST_PATH": "true" if fast else "false",
        }
        self.spool = SpoolReader(home / "spool")
        self._asked = False

    @property
    def home(self) -> Path:
        """Its SIGNPOST_HOME."""
        return self._home

    @property
    def log(self) -> str:
        """All that it said."""
        return self._log.read_text(errors="replace")

    @property
    def errors(self) -> list[str]:
        """What went wrong in its own opinion."""
        levels = '"level":"error"', '"level":"critical"'
        return [line for line in self.log.splitlines() if any(level in line for level in levels)]

    @property
    def worker(self) -> int:
        """The process id of its worker."""
        (number,) = self.workers
        return number

    @property
    def workers(self) -> list[int]:
        """The process ids of its workers: none, one, or two while one is replaced."""
        return list(children_of(self._process.pid))

    def start(self) -> None:
        """Start it; `wait_ready` tells when it answers."""
        self._home.mkdir(parents=True, exist_ok=True)
        environ = clean_environ(self._home) | self._settings
        self._process = processes.spawn(
            self._command, death_signal=signal.SIGTERM, log=self._log, environ=environ, folder=ROOT
        )

    def wait_ready(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self.log[-2000:]
            assert not self.errors and time.monotonic() < deadline, self.log[-2000:]
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.sendall(
                    b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                )
                return connection.recv(16).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def ask_to_stop(self) -> None:
        """Send SIGTERM, once: a second one may come when nobody listens any more."""
        if not self._asked:
            self._process.send_signal(signal.SIGTERM)
        self._asked = True

    def stop(self) -> int:
        """Stop it in an orderly way; answers the exit status."""
        self.ask_to_stop()
        try:
            return self._process.wait(_STOP_SECONDS)
        finally:
            processes.stop(self._process, [])

    def resident_bytes(self) -> int:
        """Memory of its worker."""
        pages = int(Path(f"/proc/{self.worker}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def call(self, key: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call its API; answers the status and the parsed body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            connection.request(
                method, f"/api/v1{path}", None if body is None else json.dumps(body), headers
            )
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text else None
        finally:
            connection.close()
