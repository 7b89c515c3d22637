"""A gateway before two processes that redirect and two of the API, all on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.core.embedded import processes
from api.operations.gateway.nginx import find_program
from tests.running import ROOT, clean_environ, is_ready, wait_until
from tests.services import nginx
from tests.services.certificates import Authority, Certificate
from tests.services.network import free_ports

HOST = "go.test"


class Part:
    """A process of Signpost's, on a host of its own: a folder that no other has."""

    def __init__(self, home: Path, arguments: list[str], environ: dict[str, str]) -> None:
        self.home = home
        self._arguments = arguments
        self._environ = environ
        self.log = home.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start it."""
        self.process = processes.spawn(
            [sys.executable, *self._arguments],
            death_signal=signal.SIGTERM,
            environ=self._environ,
            folder=ROOT,
            log=self.log,
        )

    def ask_to_stop(self) -> None:
        """Let it finish, as a host does that stops it."""
        if self.process is not None:
            self.process.terminate()

    def stop(self) -> None:
        """The same, and wait until it has."""
        if self.process is not None:
            processes.stop(self.process, [(signal.SIGTERM, 30.0)])

    def kill(self) -> None:
        """End it and all that it started, at once."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Server(Part):
    """A web server with one of the services."""

    def __init__(self, home: Path, service: str, port: int, settings: dict[str, str]) -> None:
        self.place = f"127.0.0.1:{port}"
        self._port = port
        environ = clean_environ(
            home,
            **{"WEB_CONCURRENCY": "1", **settings},
            PORT=str(port),
            SIGNPOST_SERVICES=service,
            TRUSTED_PROXIES="127.0.0.1",
            BASE_URL=f"https://{HOST}",
        )
        super().__init__(home, ["-m", "gunicorn", "--config", "config/gunicorn.py"], environ)

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.begin()
        self.wait()

    def wait(self) -> None:
        """Wait until it is ready."""
        wait_until(self.answers)

    def answers(self) -> bool:
        """Whether it says that it is ready."""
        assert self.process is not None and self.process.poll() is None, self.log.read_text()
        return is_ready(self._port)

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def renew(self) -> None:
        """Have its workers replaced, without a moment in which it does not listen."""
        before = self.starts()
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.starts() > before)
        wait_until(self.answers)

    def starts(self) -> int:
        """How many workers have begun so far."""
        return self.log.read_text().count("Booting worker")


class Gateway:
    """An nginx with the configuration that `scripts/gateway` writes."""

    def __init__(self, folder: Path, authority: Authority, **settings: str) -> None:
        self.home = folder / "gateway"
        self.certificates = folder / "certificates"
        self.http_port, self.https_port = free_ports(2)
        self.authority = authority
        self.settings = {
            "GATEWAY_HOME": str(self.home),
            "GATEWAY_CERTIFICATES": str(self.certificates),
            "GATEWAY_LISTEN": "127.0.0.1",
            "GATEWAY_HTTP_PORT": str(self.http_port),
            "GATEWAY_HTTPS_PORT": str(self.https_port),
            "GATEWAY_REQUESTS_PER_SECOND": "100000",
            "GATEWAY_API_REQUESTS_PER_SECOND": "100000",
            **({"GATEWAY_USER": "root"} if os.geteuid() == 0 else {}),
            **settings,
        }
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def add_certificate(self, name: str, *others: str) -> Certificate:
        """A certificate for these names, where the gateway finds it."""
        made = self.authority.issue(name, *others)
        folder = self.certificates / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "fullchain.pem").write_bytes(made.certificate.read_bytes())
        (folder / "privkey.pem").write_bytes(made.key.read_bytes())
        return made

    def write(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        environ = clean_environ(self._folder, **(self.settings | settings))
        return subprocess.run(
            [sys.executable, "scripts/gateway", *arguments],
            check=False,
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start(self) -> None:
        """Write the configuration, start nginx, and wait until it listens."""
        done = self.write()
        assert done.returncode == 0, done.stderr
        program = find_program()
        assert program is not None, nginx.INSTALL
        arguments = ["-p", str(self.home), "-c", str(self.home / "nginx.conf")]
        self._process = processes.spawn(
            [program, *arguments, "-g", "daemon off;"],
            death_signal=signal.SIGTERM,
            log=self._folder / "gateway.log",
        )
        wait_until(lambda: all(map(listens, (self.http_port, self.https_port))))

    def reload(self, *arguments: str, **settings: str) -> None:
        """Write the configuration anew, and have it read."""
        done = self.write(*arguments, **settings)
        assert done.returncode == 0, done.stderr
        assert "reads it now" in done.stderr

    @property
    def process_id(self) -> int:
        """Of nginx' master."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """Stop it, and let answers that are under way end."""
        if self._process is not None:
            processes.stop(self._process, [(signal.SIGQUIT, 10.0)])

    @property
    def complaints(self) -> str:
        """What nginx wrote into its log of errors."""
        return (self.home / "error.log").read_text()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class System:
    """The gateway and the servers behind it."""

    def __init__(
        self, folder: Path, authority: Authority, settings: dict[str, str], **gateway: str
    ) -> None:
        ports = free_ports(4)
        self.redirects = [
            Server(folder / f"redirect{number}", "redirect", port, settings)
            for number, port in enumerate(ports[:2])
        ]
        self.apis = [
            Server(folder / f"api{number}", "api", port, settings)
            for number, port in enumerate(ports[2:])
        ]
        self.servers = [*self.redirects, *self.apis]
        self.gateway = Gateway(
            folder,
            authority,
            GATEWAY_REDIRECT_SERVERS=",".join(server.place for server in self.redirects),
            GATEWAY_API_SERVERS=",".join(server.place for server in self.apis),
            **gateway,
        )
        self.gateway.add_certificate(HOST, f"*.{HOST}")

    @contextmanager
    def other_gateway(
        self, folder: Path, authority: Authority, **settings: str
    ) -> Iterator[Gateway]:
        """One more gateway before the same servers, for a while."""
        servers = ("GATEWAY_REDIRECT_SERVERS", "GATEWAY_API_SERVERS")
        same = {name: self.gateway.settings[name] for name in servers}
        made = Gateway(folder, authority, **same, **settings)
        made.add_certificate(HOST)
        try:
            made.start()
            yield made
        finally:
            made.stop()

    @contextmanager
    def running(self) -> Iterator[System]:
        """All of it, started, and stopped in the end."""
        try:
            for server in self.servers:
                server.begin()
            self.gateway.start()
            for server in self.servers:
                server.wait()
            yield self
        finally:
            self.gateway.stop()
            for server in self.servers:
                server.ask_to_stop()
            for server in self.servers:
                server.stop()
