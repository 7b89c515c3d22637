"""A private RabbitMQ node: its own folders, ports, cookie and epmd, all on loopback.

RabbitMQ is not in a wheel; it is Debian's package `rabbitmq-server`. Its own start script is run,
not the wrapper in /usr/sbin, which insists on root and on the system's folders.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pika

from api.core.embedded import processes
from tests.services import debian
from tests.services.network import free_ports

if TYPE_CHECKING:
    from tests.services.certificates import Authority

INSTALL = "apt-get install rabbitmq-server"
_PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
# One scheduler of each kind: boots in less time, and leaves the cores to the tests.
_FEW_THREADS = "+S 1:1 +SDcpu 1:1 +SDio 1"
_CONFIG = """
loopback_users.guest = true
disk_free_limit.absolute = 50MB
log.console = false
log.file.level = warning
"""
_TLS_CONFIG = """
listeners.tcp = none
listeners.ssl.default = 127.0.0.1:{port}
ssl_options.cacertfile = {authority}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
"""


class PrivateRabbitMQ:
    """One node and the epmd that it needs."""

    name = "RabbitMQ"

    def __init__(self, folder: Path, authority: Authority | None = None) -> None:
        """With an authority it speaks TLS alone, known by a certificate for `localhost`."""
        self._folder = folder
        self._authority = authority
        self._port, self._distribution_port, self._epmd_port = free_ports(3)
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """The URL of its default virtual host."""
        return f"amqp://guest:guest@127.0.0.1:{self._port}/%2F"

    @property
    def log(self) -> Path:
        """What it says while it starts."""
        return self._folder / "server.log"

    @property
    def process_id(self) -> int | None:
        """The node's id, while there is one."""
        return self._processes[-1].pid if self._processes else None

    def start(self) -> None:
        """Start epmd and the node; `ready` tells when it takes connections.

        A node that was killed is started again over what it had written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "rabbitmq.conf").write_text(_CONFIG + self._tls_config())
        (self._folder / "plugins").write_text("[].\n")
        epmd = shutil.which("epmd") or "epmd"
        address = ["-address", "127.0.0.1", "-port", str(self._epmd_port)]
        if not self._processes or self._processes[0].poll() is not None:
            self._processes = [self._spawn([epmd, *address])]
        self._processes = [self._processes[0], self._spawn([str(_PROGRAM)])]

    def ready(self) -> bool:
        """Whether it takes connections."""
        if self._authority is not None:
            return _listens("127.0.0.1", self._port)
        return greets("127.0.0.1", self._port)

    def responds(self) -> bool:
        """Whether it is there."""
        return self.ready()

    def exit_status(self) -> int | None:
        """None while the node runs."""
        return self._processes[-1].poll() if self._processes else 0

    def complaint(self) -> str:
        """Why it stopped, in its own words."""
        return processes.last_line(self.log, "its log is empty")

    def stop(self) -> None:
        """End the node, then epmd. Nothing is kept, so nothing needs an orderly end."""
        for process in reversed(self._processes):
            processes.stop(process, [])

    def tls_url(self, parameters: str, *, host: str = "localhost") -> str:
        """The URL of its default virtual host by TLS, with `?parameters`."""
        return f"amqps://guest:guest@{host}:{self._port}/%2F?{parameters}"

    def _tls_config(self) -> str:
        if self._authority is None:
            return ""
        issued = self._authority.issue("localhost")
        return _TLS_CONFIG.format(
            port=self._port,
            authority=self._authority.file,
            certificate=issued.certificate,
            key=issued.key,
        )

    def _spawn(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        return processes.spawn(
            arguments,
            death_signal=signal.SIGKILL,
            log=self.log,
            environ=self._environ(),
            folder=self._folder,
        )

    def _environ(self) -> dict[str, str]:
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        # The variable would open a plain listener, whatever the configuration says.
        plain = {} if self._authority else {"RABBITMQ_NODE_PORT": str(self._port)}
        return (
            inherited
            | plain
            | {
                "HOME": str(self._folder),  # the cookie is made there
                "ERL_EPMD_ADDRESS": "127.0.0.1",
                "ERL_EPMD_PORT": str(self._epmd_port),
                "RABBITMQ_NODENAME": f"signpost-{self._port}@localhost",
                "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                "RABBITMQ_DIST_PORT": str(self._distribution_port),
                "RABBITMQ_CONF_ENV_FILE": "/dev/null",
                "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the node itself
                "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
                "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
                "RABBITMQ_LOG_BASE": str(self._folder / "log"),
                "RABBITMQ_PID_FILE": str(self._folder / "pid"),
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": loopback,
                "RABBITMQ_SERVER_ERL_ARGS": _FEW_THREADS,
            }
        )


def greets(host: str, port: int) -> bool:
    """Whether a server answers the first bytes of AMQP 0-9-1 with a method frame."""
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(64).startswith(b"\x01\x00\x00")
    except OSError:
        return False


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def wait_until_up(url: str, seconds: float = 120) -> None:
    """Wait until the server at `url` greets; the node takes longer to start than all others."""
    address = pika.URLParameters(url)
    deadline = time.monotonic() + seconds
    while not greets(address.host, address.port):
        if time.monotonic() > deadline:
            raise TimeoutError(f"RabbitMQ at {address.host}:{address.port} does not answer")
        time.sleep(0.1)


def available() -> bool:
    """Whether RabbitMQ is installed, after installing it where that may be done."""
    if not _PROGRAM.exists() and debian.can_install():
        debian.install(
            "rabbitmq-server", ["rabbitmq-server.service", "epmd.service", "epmd.socket"]
        )
    return _PROGRAM.exists()
