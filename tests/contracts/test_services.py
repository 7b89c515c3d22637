"""What each kind of web server takes while it runs: one that only redirects is smaller, and opens
no more than it needs for links."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench.usage import run_measured
from tests.gateway.system import Server
from tests.running import ROOT, children_of, wait_until
from tests.services.network import free_ports


class Seen(Server):
    """A server whose only worker is looked at."""

    def __init__(self, folder: Path, service: str, settings: dict[str, str]) -> None:
        self.port = free_ports(1)[0]
        super().__init__(folder / service, service, self.port, settings)

    def lives(self) -> bool:
        """Whether a worker answers; without looking at what is behind it, as readiness does."""
        try:
            return self.get("/health/live") == 200
        except (OSError, HTTPException):
            return False

    def get(self, path: str) -> int:
        """The status of a request."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    @property
    def worker(self) -> Path:
        """Its folder of /proc."""
        assert self.process is not None
        (process_id,) = children_of(self.process.pid)
        return Path(f"/proc/{process_id}")

    def resident_bytes(self) -> int:
        """Memory of the worker, with what it shares with its master."""
        found = re.search(r"^Rss: +(\d+) kB$", (self.worker / "smaps_rollup").read_text(), re.M)
        assert found
        return int(found[1]) * 1024

    def threads(self) -> int:
        """Of the worker."""
        return len(list((self.worker / "task").iterdir()))

    def sockets(self) -> list[list[str]]:
        """The worker's own, as the kernel tells them (proc_net_tcp.txt)."""
        links = [path.readlink().name for path in (self.worker / "fd").iterdir()]
        inodes = {name[len("socket:[") : -1] for name in links if name.startswith("socket:[")}
        rows = [row.split() for row in (self.worker / "net/tcp").read_text().splitlines()[1:]]
        return [row for row in rows if row[9] in inodes]

    def connections_to(self, url: str) -> int:
        """How many connections the worker has to a server on this host."""
        remote = f":{urlsplit(url).port:04X}"
        return sum(row[2].endswith(remote) for row in self.sockets())


@pytest.fixture(scope="module")
def servers(
    environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Seen]]:
    folder = tmp_path_factory.mktemp("services")
    named = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "REDIRECT_WARM_ENTRIES")
    settings = {name: environ[name] for name in named}
    made = {name: Seen(folder, name, settings) for name in ("redirect", "api")}
    try:
        for server in made.values():
            server.begin()
        for server in made.values():
            wait_until(server.lives)
        yield made
    finally:
        for server in made.values():
            server.ask_to_stop()
        for server in made.values():
            server.stop()


def test_redirects_hold_two_connections_to_the_database(
    servers: dict[str, Seen], environ: dict[str, str]
) -> None:
    """One, of the pool of transactions, with which it has read which targets are blocked; and, once
    somebody asked for a link that no cache knows, one of the pool of single statements."""
    server = servers["redirect"]
    database, cache = environ["DATABASE_URL"], environ["REDIS_URL"]
    wait_until(lambda: server.connections_to(cache) > 0)
    assert server.connections_to(database) <= 1

    assert server.get("/api/v1/links") == 404  # there is no such thing here
    assert server.get("/no-such-slug") == 404

    assert server.connections_to(database) <= 2


def test_redirects_listen_on_their_port_alone(servers: dict[str, Seen]) -> None:
    server = servers["redirect"]
    listening = {row[1].rpartition(":")[2] for row in server.sockets() if row[3] == "0A"}
    assert listening == {f"{server.port:04X}"}


def test_redirects_take_less_memory_and_no_more_threads(servers: dict[str, Seen]) -> None:
    redirect, api = servers["redirect"], servers["api"]
    for path in ("/health/live", "/no-such-slug", "/api/v1/links"):
        redirect.get(path)
        api.get(path)
    # Measured: 69 %. Most of what is left is Python, gevent and SQLAlchemy's core.
    assert redirect.resident_bytes() < 0.85 * api.resident_bytes()
    assert redirect.threads() <= api.threads()


def test_redirects_start_with_less_work(environ: dict[str, str]) -> None:
    """CPU and not seconds: others on the machine add to it, but do not make it another kind."""
    used = {service: cpu_of_loading(environ, service) for service in ("redirect", "api")}
    # Measured: half of it; bench/startup has the seconds.
    assert used["redirect"] < 0.75 * used["api"]


def cpu_of_loading(environ: dict[str, str], service: str) -> float:
    """Seconds of CPU that it takes to load the application."""
    named = ("DATABASE_URL", "SECRET_KEY", "SIGNPOST_HOME")
    settings = {name: environ[name] for name in named} | {"SIGNPOST_SERVICES": service}
    settings["PATH"] = os.environ["PATH"]
    done = run_measured([sys.executable, "-c", "import wsgi"], settings, ROOT)
    assert done.status == 0
    return done.cpu_seconds
