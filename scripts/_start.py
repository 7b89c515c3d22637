"""The Python half of scripts/start: start everything, say where it is, keep it running."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shlex
import signal
import socket
import ssl
import subprocess
import sys
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import _bootstrap
import psycopg2

from api.core.database.demand import demand_of
from api.core.embedded import processes
from api.core.embedded.commands import CommandService
from api.core.embedded.errors import EmbeddedError
from api.core.embedded.locks import ProcessLock
from api.core.embedded.postgres import EmbeddedPostgres
from api.core.embedded.settings import postgres_folder, valkey_folder
from api.core.embedded.supervisor import StopRequested, StopSignals, Supervisor
from api.core.embedded.valkey import EmbeddedValkey
from config.private_files import make_once
from config.redis_urls import is_cluster
from config.settings import Settings, SettingsError

ROOT = _bootstrap.ROOT
_DATABASE_SECONDS = 300.0  # a server that recovers from a crash takes its time
_WEB_SECONDS = 90.0
_DRAIN_SECONDS = 60.0  # for the clicks that wait; those that do not make it stay in the spool


class Start:
    """One run of scripts/start."""

    def __init__(self, settings: Settings, signals: StopSignals) -> None:
        self._settings = settings
        self._signals = signals
        self._home = settings.signpost_home
        self._metrics_token = self._home / "metrics.token"
        self._supervisor = Supervisor(signals, say)
        self._environ = dict(os.environ)
        self._address = _local_address(settings.host)
        self._health: dict[str, dict[str, str]] = {}
        run = _make_folder(self._home / "run")
        self._lock = ProcessLock(run / "start.lock")
        self._web = CommandService(
            "web server",
            [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"],
            environ=self._environ,
            folder=ROOT,
            lock=run / "web.lock",
            grace_seconds=settings.gunicorn_graceful_timeout_seconds + 5,
            is_ready=self._answers,
        )
        self._clicks = CommandService(
            "click consumer",
            [sys.executable, "scripts/consume-clicks"],
            environ=self._environ,
            folder=ROOT,
            lock=run / "clicks.lock",
            grace_seconds=_DRAIN_SECONDS,
        )
        self._jobs = CommandService(
            "job worker",
            [sys.executable, "scripts/run-jobs"],
            environ=self._environ,
            folder=ROOT,
            lock=run / "jobs.lock",
            grace_seconds=settings.fetch_seconds + 10,
        )

    def run(self) -> None:
        """Start, serve until a signal, stop."""
        try:
            self._claim()
            self._keep_metrics_token()
            self._start_databases()
            key = self._prepare()
            self._supervisor.start(self._web)
            self._supervisor.wait_ready(self._web, _WEB_SECONDS)
            # Only now, not to slow the web server's start; stopped after it, to count all it wrote.
            self._supervisor.start(self._clicks, stop_after=self._web)
            if self._settings.amqp_url or not is_cluster(self._settings.redis_url):
                self._supervisor.start(self._jobs, stop_after=self._web)
            self._welcome(key)
            self._supervisor.run()
        except StopRequested:
            pass
        finally:
            self._supervisor.stop()
            self._lock.release()

    def _claim(self) -> None:
        """Make sure that home and port are ours."""
        if not self._lock.acquire():
            raise EmbeddedError(
                f"Signpost is running on {self._home} already (process {self._lock.holder()}): "
                "stop it, or set SIGNPOST_HOME to another folder"
            )
        self._lock.name_holder(os.getpid())
        self._web.take_over()
        self._clicks.take_over()
        self._jobs.take_over()
        _check_port(self._settings.host, self._settings.port)

    def _keep_metrics_token(self) -> None:
        """Let the operator see the status page and the metrics, and nobody else."""
        if self._settings.metrics_token is None:
            if not self._metrics_token.exists():
                make_once(self._metrics_token, secrets.token_urlsafe(24))
            self._environ["METRICS_TOKEN"] = self._metrics_token.read_text().strip()

    def _start_databases(self) -> None:
        """Start what no setting names, and put its address into the environment of the rest."""
        postgres = EmbeddedPostgres(
            postgres_folder(self._home), connections=demand_of(self._settings).total
        )
        valkey = EmbeddedValkey(valkey_folder(self._home))
        # Both at once, then wait for both.
        if self._settings.database_url is None:
            self._supervisor.start(postgres)
        if self._settings.redis_url is None:
            self._supervisor.start(valkey)
        if self._settings.database_url is None:
            self._supervisor.wait_ready(postgres, _DATABASE_SECONDS)
            self._environ["DATABASE_URL"] = postgres.url
        else:
            _check_database(self._settings)
        if self._settings.redis_url is None:
            self._supervisor.wait_ready(valkey, _DATABASE_SECONDS)
            self._environ["REDIS_URL"] = valkey.url

    def _prepare(self) -> str | None:
        """Migrate and bootstrap; answers the API key if it was made now."""
        process = subprocess.Popen(
            [sys.executable, "scripts/_prepare.py"],
            env=self._environ,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        while process.poll() is None:
            if self._signals.wait(0.5):
                processes.stop(process, [(signal.SIGTERM, 10.0)])
                raise StopRequested
        if process.returncode != 0 or process.stdout is None:
            raise SystemExit(1)  # it said why
        key: str | None = json.loads(process.stdout.read())["key"]
        return key

    def _answers(self) -> bool:
        """Whether the web server is ready, by its own word."""
        connection = self._connection()
        try:
            connection.request("GET", "/health/ready")
            response = connection.getresponse()
            self._health = json.loads(response.read()).get("checks", {})
        except (OSError, ValueError):
            return False
        finally:
            connection.close()
        return response.status == 200

    def _connection(self) -> HTTPConnection:
        port = self._settings.port
        if self._settings.tls_certificate is None:
            return HTTPConnection(self._address, port, timeout=5)
        # Its certificate is for its public name, not for the address by which we, on the same
        # machine, ask how it is.
        context = ssl._create_unverified_context()  # nosec B323 # noqa: S323
        return HTTPSConnection(self._address, port, timeout=5, context=context)

    def _welcome(self, key: str | None) -> None:
        host = f"[{self._address}]" if ":" in self._address else self._address
        scheme = "https" if self._settings.tls_certificate else "http"
        here = f"{scheme}://{host}:{self._settings.port}"
        path = self._home / "admin.key"
        print(f"\nSignpost is ready at {here}")
        if key is not None:
            print(f"\n  API key, shown this once and kept in {path}:\n    {key}")
        secret = f"$(cat {shlex.quote(str(path))})"
        if not path.exists():
            print("\n  Make an API key:\n    scripts/create-key")
            secret = "YOUR-KEY"  # nosec B105 # noqa: S105 # pragma: allowlist secret
        print(
            f"\n  Create a link:\n    curl -sS -X POST {here}/api/v1/links "
            f'-H "Authorization: Bearer {secret}" '
            """-H 'Content-Type: application/json' -d '{"url": "https://example.com/"}'"""
        )
        print(f"\n  Documentation: {here}/docs")
        if self._settings.status_page != "off":
            kept = self._settings.metrics_token is None
            where = self._metrics_token if kept else "METRICS_TOKEN"
            print(f"  Status: {here}/status (any name; the password is in {where})")
        print("  Stop: Ctrl-C\n", flush=True)
        if self._health.get("redis", {}).get("status") == "down":
            say("REDIS_URL does not answer: until it does, each process has caches of its own")


def _make_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"SIGNPOST_HOME: cannot make {path} ({error.strerror})") from None
    return path


def _local_address(host: str) -> str:
    """The address by which this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # nosec B104 # noqa: S104


def _check_port(host: str, port: int) -> None:
    """Fail early where gunicorn would fail late."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise SettingsError(f"HOST: {host!r} is no address of this machine ({error})") from None
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            setting = "HOST" if error.errno == errno.EADDRNOTAVAIL else "PORT"
            raise SettingsError(
                f"{setting}: cannot listen on {host}:{port} ({error.strerror}); "
                f"set {setting} to another"
            ) from None


def _check_database(settings: Settings) -> None:
    """Fail with the reason, rather than in the middle of a migration."""
    url = (settings.database_url or "").replace("+psycopg2", "", 1)
    try:
        psycopg2.connect(url, connect_timeout=settings.db_connect_timeout_seconds).close()
    except psycopg2.Error as error:
        raise SettingsError(f"DATABASE_URL: {_bootstrap.first_line(error)}") from None


def say(text: str) -> None:
    """Tell the operator."""
    sys.stderr.write(f"scripts/start: {text}\n")


def main() -> int:
    try:
        settings = Settings.load()
        with StopSignals() as signals:
            Start(settings, signals).run()
            return 0
    except (SettingsError, EmbeddedError, OSError) as error:
        say(_bootstrap.first_line(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
