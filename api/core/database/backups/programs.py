"""pg_dump and pg_restore: found, of a version that the server accepts, and run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from psycopg2.extensions import make_dsn, parse_dsn

from api.core.database.backups.errors import BackupError
from api.core.database.moving.peers import Peer
from api.core.embedded import processes
from api.core.embedded.postgres import find_installs

_VERSION = re.compile(r"\(PostgreSQL\) ((\d+)\S*)")
_DEBIAN = Path("/usr/lib/postgresql")
# What they say of an error, and not of what they do.
_COMPLAINT = re.compile(r"^pg_\w+: (?:error|warning|fatal): (.*)", re.MULTILINE)


@dataclass(frozen=True)
class Programs:
    """One version of both."""

    folder: Path
    version: str
    major: int


def choose_programs(lowest: int, wanted_for: str) -> Programs:
    """Those of the server's own version, else of the next newer one: what a newer pg_dump writes
    an older server need not understand.

    Raises:
        BackupError: there are none; the message says what to install.
    """
    found = {programs.major: programs for programs in _find()}
    fit = [major for major in sorted(found) if major >= lowest]
    if fit:
        return found[fit[0]]
    there = ", ".join(map(str, sorted(found))) or "none"
    raise BackupError(
        f"{wanted_for} needs pg_dump and pg_restore of PostgreSQL {lowest} or newer, and there is "
        f"{there} here: apt-get install postgresql-client-{lowest}, or put their folder into PATH"
    )


def _find() -> Iterator[Programs]:
    """Later ones go before earlier ones of the same version: those in PATH before all."""
    folders = [*find_installs(), *_DEBIAN.glob("*/bin")]
    if in_path := shutil.which("pg_dump"):
        folders.append(Path(in_path).parent)
    for folder in folders:
        if not (folder / "pg_restore").exists():
            continue
        try:
            told = subprocess.run(
                [str(folder / "pg_dump"), "--version"], check=True, capture_output=True, text=True
            ).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        if version := _VERSION.search(told):
            yield Programs(folder, version[1], int(version[2]))


@dataclass
class Run:
    """A program that runs on one database, and what it has said."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]
    _read: int = field(default=0, repr=False)

    def news(self) -> list[str]:
        """The lines that it has written since the last call."""
        with self.log.open("rb") as stream:
            stream.seek(self._read)
            new = stream.read()
        end = new.rfind(b"\n") + 1
        self._read += end
        return new[:end].decode(errors="replace").splitlines()

    def ended(self) -> bool:
        """Whether it has come to its end.

        Raises:
            BackupError: it has failed.
        """
        status = self.process.poll()
        if status:
            text = self.log.read_text(errors="replace")
            complaints = _COMPLAINT.findall(text) or text.strip().splitlines()[-1:]
            why = complaints[0] if complaints else f"status {status}"
            raise BackupError(f"{self.name}: {Path(str(self.process.args[0])).name}: {why}")  # type: ignore[index]
        return status is not None

    def stop(self) -> None:
        """End it, if it runs."""
        processes.stop(self.process, [(signal.SIGTERM, 5.0)])


def run(program: Path, arguments: list[str], peer: Peer, log: Path) -> Run:
    """Start a program on a database. It ends with us, so call this from the main thread."""
    conninfo, environ = _address(peer)
    process = processes.spawn(
        [str(program), *arguments, f"--dbname={conninfo}"],
        death_signal=signal.SIGTERM,
        log=log,
        environ=environ,
    )
    return Run(peer.name, log, process)


def _address(peer: Peer) -> tuple[str, Mapping[str, str]]:
    """Where to connect, and the environment with the password: others see arguments."""
    parts = parse_dsn(peer.conninfo)
    secrets = {"PGPASSWORD": parts.pop("password")} if "password" in parts else {}
    parts["application_name"] = "signpost-backup"
    return make_dsn(**parts), {**os.environ, "LC_ALL": "C", **secrets}
