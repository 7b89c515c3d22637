"""A private nginx: its own folder and ports, all on loopback. It is Debian's package `nginx`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from api.core.embedded import processes
from api.operations.gateway.nginx import find_program
from tests.services import debian

INSTALL = "apt-get install nginx"
_START_SECONDS = 10.0

_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log nginx.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{http}
}}
"""


class PrivateNginx:
    """Serves what `http`, the inside of the block of that name, says."""

    def __init__(self, folder: Path, http: str, ports: Sequence[int]) -> None:
        self._folder = folder
        self._http = http
        self._ports = ports
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it complained about."""
        return (self._folder / "nginx.log").read_text()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(_CONFIG.format(user=user, http=self._http))
        program = find_program()
        assert program is not None, INSTALL
        self._process = processes.spawn(
            [program, "-p", str(self._folder), "-c", str(config)],
            death_signal=signal.SIGTERM,
            log=self._folder / "start.log",
        )
        deadline = time.monotonic() + _START_SECONDS
        while not all(map(_listens, self._ports)):
            complaint = (self._folder / "start.log").read_text()
            assert self._process.poll() is None and time.monotonic() < deadline, complaint
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it, and let answers that are under way end."""
        if self._process is not None:
            processes.stop(self._process, [(signal.SIGQUIT, 10.0)])


def available() -> bool:
    """Whether nginx is installed, after installing it where that may be done."""
    if find_program() is None and debian.can_install():
        debian.install("nginx", ["nginx.service"])
    return find_program() is not None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
