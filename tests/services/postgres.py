"""A private PostgreSQL that speaks TLS alone. The embedded one cannot: this is Debian's package."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

from api.core.embedded import processes
from api.core.embedded.accounts import Account, choose_account
from tests.services import debian
from tests.services.certificates import Authority
from tests.services.network import free_ports

INSTALL = "apt-get install postgresql"
USER = "signpost"
_INSTALLED = Path("/usr/lib/postgresql")
# Everybody by TLS and nobody else; `guarded` only with a certificate of a client.
_ACCESS = """
hostssl all guarded 127.0.0.1/32 cert
hostssl all all 127.0.0.1/32 trust
"""
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "ssl": "on",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "log_line_prefix": "%m [%p] ",
}


class PrivatePostgres:
    """One server over a folder, known by a certificate for `localhost`."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self._folder = folder
        self._authority = authority
        self.port = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, parameters: str, *, user: str = USER, host: str = "localhost") -> str:
        """The URL of its database, with `?parameters`."""
        return f"postgresql://{user}@{host}:{self.port}/postgres?{parameters}"

    def start(self) -> None:
        """Make a cluster and serve it; it answers when this returns."""
        binaries = find()
        assert binaries is not None, INSTALL
        self._folder.mkdir(parents=True, exist_ok=True)
        account = choose_account(self._folder, binaries / "postgres", INSTALL)
        data = self._folder / "data"
        initialise = ["--username", USER, "--auth=trust", "--no-sync", "--encoding=UTF8"]
        made = self._spawn(account, [binaries / "initdb", "-D", data, *initialise, "--locale=C"])
        assert made.wait() == 0, self._complaint()
        (data / "pg_hba.conf").write_text(_ACCESS)
        options = {"port": str(self.port)} | _OPTIONS | self._certificates(account)
        arguments = [f"--{name}={value}" for name, value in options.items()]
        self._process = self._spawn(account, [binaries / "postgres", "-D", data, *arguments])
        waits = ["-h", "127.0.0.1", "-p", str(self.port), "--quiet"]
        for _ in range(100):
            assert self._process.poll() is None, self._complaint()
            if subprocess.run([binaries / "pg_isready", *waits, "-t", "1"], check=False).returncode:
                continue
            return
        raise TimeoutError(self._complaint())

    def stop(self) -> None:
        """Stop it; nothing is kept."""
        if self._process is not None:
            processes.stop(self._process, [(signal.SIGQUIT, 10.0)])

    def _certificates(self, account: Account) -> dict[str, str]:
        issued = self._authority.issue("localhost")
        found = {}
        for name, path in (
            ("ssl_cert_file", issued.certificate),
            ("ssl_key_file", issued.key),
            ("ssl_ca_file", self._authority.file),
        ):
            own = self._folder / path.name
            shutil.copyfile(path, own)
            own.chmod(0o600)
            account.own(own)
            found[name] = str(own)
        return found

    def _spawn(self, account: Account, arguments: list[Path | str]) -> subprocess.Popen[bytes]:
        return processes.spawn(
            [str(argument) for argument in arguments],
            death_signal=signal.SIGINT,
            account=account,
            log=self._folder / "server.log",
            environ={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            folder=self._folder,
        )

    def _complaint(self) -> str:
        return processes.last_line(self._folder / "server.log", "its log is empty")


def find() -> Path | None:
    """The folder of the newest version's programs, if one is installed."""
    versions = [path for path in _INSTALLED.glob("*/bin") if (path / "initdb").exists()]
    return max(versions, key=lambda path: int(path.parent.name), default=None)


def available() -> bool:
    """Whether it is installed, after installing it where that may be done."""
    if find() is None and debian.can_install():
        debian.install("postgresql", ["postgresql.service"])
    return find() is not None
