"""Every kind of process, each with a log of its own, on servers whose URLs hold passwords."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

from tests.running import ROOT, wait_until
from tests.services.network import free_ports

# Straight to the terminal, from its signal handler, where nothing can be logged.
_SAID_BY_CELERY = "\nworker: Warm shutdown (MainProcess)\n"
_COMMANDS = {
    "web": ["-m", "gunicorn", "--config", "config/gunicorn.py", "wsgi:app"],
    "consumer": ["scripts/consume-clicks"],
    "jobs": ["scripts/run-jobs"],
}


class LoggedSystem:
    """A web server with one worker, a consumer and a worker of jobs."""

    def __init__(self, environ: dict[str, str], folder: Path) -> None:
        self.port = free_ports(1)[0]
        self.base = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        settings = {"PORT": str(self.port), "WEB_CONCURRENCY": "1", "LOG_FORMAT": "json"} | environ
        for name, command in _COMMANDS.items():
            with (folder / name).open("wb") as stream:
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, *command],
                        cwd=ROOT,
                        env=os.environ | settings,
                        stdout=stream,
                        stderr=stream,
                    )
                )
        wait_until(self._is_ready)

    def stop(self) -> None:
        """Stop all of it, as a host does."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise

    @property
    def texts(self) -> dict[str, str]:
        """All that each process has written, to whichever stream."""
        return {name: (self._folder / name).read_text() for name in _COMMANDS}

    def lines(self, process: str = "web") -> list[dict[str, Any]]:
        """The lines that a process has written."""
        text = self.texts[process].replace(_SAID_BY_CELERY, "")
        # The last one may be written just now.
        return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]

    def events(self, process: str, part: str) -> list[str]:
        """What a process has told, of that which has this part."""
        return [line["event"] for line in self.lines(process) if part in line["event"]]

    def line_of(self, answer: requests.Response) -> dict[str, Any]:
        """The line of the request that was answered so."""
        name = answer.headers["X-Request-ID"]
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [
                line
                for line in self.lines()
                if line["event"] == "request" and line["request_id"] == name
            ]
            return bool(found)

        wait_until(is_there)
        (line,) = found
        return line

    def _is_ready(self) -> bool:
        for name, process in zip(_COMMANDS, self._processes, strict=True):
            assert process.poll() is None, self.texts[name]
        if not self.events("consumer", "takes clicks from") or "ready" not in self.texts["jobs"]:
            return False
        try:
            return requests.get(f"{self.base}/health/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False
