"""A private PgBouncer in transaction mode, on loopback. It is Debian's package `pgbouncer`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras
from sqlalchemy import make_url

from api.core.embedded import processes
from api.core.embedded.accounts import choose_account
from tests.services import debian
from tests.services.network import free_ports

INSTALL = "apt-get install pgbouncer"
# Where distributions keep servers; not in everybody's PATH.
_SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
_START_SECONDS = 10.0

# As it comes, but for the addresses and the sizes: what it takes from clients is its default.
_CONFIG = """
[databases]
* = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
admin_users = {user}
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
"""


class PrivatePgBouncer:
    """Gives the clients of a server's databases `size` connections for each of them."""

    def __init__(self, folder: Path, server_url: str, size: int) -> None:
        self._folder = folder
        self._server = make_url(server_url)
        self._size = size
        self._port = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database_url: str) -> str:
        """The URL of a database of the server, by way of here."""
        url = make_url(database_url).set(host="127.0.0.1", port=self._port)
        return url.render_as_string(hide_password=False)

    def show(self, what: str) -> list[dict[str, Any]]:
        """What its console says."""
        url = make_url(self.url("postgresql://")).set(
            database="pgbouncer", username=self._server.username
        )
        with closing(psycopg2.connect(url.render_as_string(hide_password=False))) as console:
            console.autocommit = True
            with console.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                cursor.execute(f"SHOW {what}")
                return list(cursor.fetchall())

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = find()
        assert program is not None, INSTALL
        self._folder.mkdir(parents=True, exist_ok=True)
        account = choose_account(self._folder, Path(program), INSTALL)
        user = self._server.username or ""
        config = self._folder / "pgbouncer.ini"
        config.write_text(
            _CONFIG.format(
                host=self._server.host,
                server_port=self._server.port,
                port=self._port,
                folder=self._folder,
                user=user,
                size=self._size,
            )
        )
        (self._folder / "users.txt").write_text(f'"{user}" ""\n')
        log = self._folder / "pgbouncer.log"
        self._process = processes.spawn(
            [program, "--quiet", str(config)],
            death_signal=signal.SIGTERM,
            account=account,
            log=log,
            folder=self._folder,
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            processes.stop(self._process, [(signal.SIGTERM, 10.0)])

    def _answers(self) -> bool:
        try:
            return bool(self.show("VERSION"))
        except psycopg2.OperationalError:
            return False


def find() -> str | None:
    """The program, if it is installed."""
    return shutil.which("pgbouncer", path=_SEARCHED)


def available() -> bool:
    """Whether PgBouncer is installed, after installing it where that may be done."""
    if find() is None and debian.can_install():
        debian.install("pgbouncer", ["pgbouncer.service"])
    return find() is not None
