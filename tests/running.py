"""A real `scripts/start` in a folder of its own, for tests of the whole."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from tests.scripting import run_script
from tests.services.network import free_ports
from tests.unlimited import UNLIMITED

ROOT = Path(__file__).resolve().parents[1]
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_START = [sys.executable, str(ROOT / "scripts" / "_start.py")]
_PATIENCE_SECONDS = 60


def clean_environ(home: Path, **settings: str) -> dict[str, str]:
    """Our environment without anything that is a setting, and with these settings; no limits."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | UNLIMITED | {"SIGNPOST_HOME": str(home), "WEB_CONCURRENCY": "2"} | settings


def start_in_vain(home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a start that is expected to refuse."""
    environ = clean_environ(home, **settings)
    return run_script("_start.py", env=environ, timeout=_PATIENCE_SECONDS)


class RunningSignpost:
    """One start: its process, its output, its address."""

    def __init__(self, home: Path, port: int, **settings: str) -> None:
        self.home = home
        self.port = port
        self._settings = settings
        self._output = home.with_name(f"{home.name}-{port}.out")

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        environ = clean_environ(self.home, PORT=str(self.port), **self._settings)
        started = time.monotonic()
        with self._output.open("w") as stream:
            self.process = subprocess.Popen(_START, env=environ, stdout=stream, stderr=stream)
        wait_until(lambda: "Stop: Ctrl-C" in self.output or self.process.poll() is not None)
        assert self.process.poll() is None, self.output
        self.seconds = time.monotonic() - started

    @property
    def output(self) -> str:
        """All that it printed since the last start."""
        return self._output.read_text()

    @property
    def key(self) -> str:
        """The API key."""
        return (self.home / "admin.key").read_text().strip()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it; answers the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(_PATIENCE_SECONDS)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API with the key; answers the parsed JSON of a success."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, headers)
            response = connection.getresponse()
            answer = response.read()
            assert response.status < 300, answer
            return json.loads(answer)
        finally:
            connection.close()

    def clicks(self, link_id: str) -> int:
        """How many clicks are counted."""
        total: int = self.call("GET", f"/api/v1/links/{link_id}/stats")["total"]["clicks"]
        return total

    def leftovers(self) -> list[str]:
        """Command lines of processes that belong to this home, by argument or environment."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                arguments = (folder / "cmdline").read_bytes()
                place = os.fsencode(self.home)
                if place in arguments or place in (folder / "environ").read_bytes():
                    found.append(arguments.replace(b"\0", b" ").decode(errors="replace"))
        return found

    def children(self) -> dict[int, str]:
        """Ids and command lines of the processes that the supervisor started."""
        return children_of(self.process.pid)


@contextlib.contextmanager
def running(home: Path, **settings: str) -> Iterator[RunningSignpost]:
    """A started Signpost; it is stopped, whatever happens."""
    signpost = RunningSignpost(home, free_ports(1)[0], **settings)
    signpost.start()
    try:
        yield signpost
    finally:
        signpost.stop()
        print(signpost.output)  # noqa: T201 - pytest shows it where a test fails


def children_of(process_id: int) -> dict[int, str]:
    """Ids and command lines of the children of a process."""
    listing = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], check=True, capture_output=True, text=True
    ).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    return {int(row[0]): row[2] for row in rows if len(row) == 3 and int(row[1]) == process_id}


def is_ready(port: int) -> bool:
    """Whether a web server of ours says that it is ready."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def wait_until(condition: Any, seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait for a condition; a test fails that waits too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
