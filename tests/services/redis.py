"""A private Redis that speaks TLS alone. The embedded Valkey cannot: this is Debian's package."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

from api.core.embedded import processes
from tests.services import debian
from tests.services.certificates import Authority
from tests.services.network import free_ports

INSTALL = "apt-get install redis-server"
_START_SECONDS = 10.0


class PrivateRedis:
    """One server, known by a certificate for `localhost`; with `guarded`, clients need one, too."""

    def __init__(self, folder: Path, authority: Authority, *, guarded: bool = False) -> None:
        self._folder = folder
        self._authority = authority
        self._guarded = guarded
        self.port = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, parameters: str, *, host: str = "localhost") -> str:
        """The URL of its first database, with `?parameters`."""
        return f"rediss://{host}:{self.port}/0?{parameters}"

    def start(self) -> None:
        """Start it; it answers when this returns."""
        self._folder.mkdir(parents=True, exist_ok=True)
        issued = self._authority.issue("localhost")
        options = {
            "bind": "127.0.0.1",
            "port": "0",
            "tls-port": str(self.port),
            "tls-cert-file": str(issued.certificate),
            "tls-key-file": str(issued.key),
            "tls-ca-cert-file": str(self._authority.file),
            "tls-auth-clients": "yes" if self._guarded else "no",
            "dir": str(self._folder),
            "save": "",
        }
        program = shutil.which("redis-server")
        assert program is not None, INSTALL
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        log = self._folder / "server.log"
        self._process = processes.spawn(
            [program, *arguments], death_signal=signal.SIGKILL, log=log, folder=self._folder
        )
        deadline = time.monotonic() + _START_SECONDS
        while "Ready to accept connections" not in log.read_text(errors="replace"):
            complaint = processes.last_line(log, "its log is empty")
            assert self._process.poll() is None and time.monotonic() < deadline, complaint
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it; nothing is kept."""
        if self._process is not None:
            processes.stop(self._process, [])


def available() -> bool:
    """Whether it is installed, after installing it where that may be done."""
    if shutil.which("redis-server") is None and debian.can_install():
        debian.install("redis-server", ["redis-server.service"])
    return shutil.which("redis-server") is not None
