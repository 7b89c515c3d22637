"""Bring up the servers that the tests need, run pytest beside them, and stop everything."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from api.core.embedded.errors import EmbeddedError
from api.core.embedded.postgres import EmbeddedPostgres
from api.core.embedded.supervisor import Service, StopRequested, StopSignals, Supervisor
from api.core.embedded.valkey import EmbeddedValkey
from tests.services import rabbitmq
from tests.services.network import free_ports

# Nothing here outlives the run, so nothing has to reach the disk.
_FORGETFUL = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}
_PARALLEL_OPTIONS = ("-n", "--numprocesses", "--pdb", "--trace", "--collect-only", "--co")


class PrivateService(Service, Protocol):
    """A service that tests connect to."""

    @property
    def url(self) -> str: ...


def run_tests(arguments: Sequence[str]) -> int:
    """Run pytest with `arguments` beside all servers; answers its exit status."""
    with StopSignals() as signals, _servers(signals, with_rabbitmq=True) as environ:
        return _run(signals, _pytest_command(arguments), environ)


def run_command(command: Sequence[str]) -> int:
    """Run `command` beside PostgreSQL and Valkey, in DATABASE_URL and REDIS_URL, too."""
    with StopSignals() as signals, _servers(signals, with_rabbitmq=False) as environ:
        addresses = {
            "DATABASE_URL": environ["TEST_DATABASE_URL"],
            "REDIS_URL": environ["TEST_REDIS_URL"],
        }
        return _run(signals, command, environ | addresses)


@contextmanager
def _servers(signals: StopSignals, *, with_rabbitmq: bool) -> Iterator[dict[str, str]]:
    """An environment that names running servers, which end with the context."""
    with _folder() as folder:
        supervisor = Supervisor(signals, _say)
        try:
            yield os.environ | _start(supervisor, folder, with_rabbitmq)
        except EmbeddedError as error:
            sys.exit(f"scripts/test: {error}")
        except StopRequested:
            sys.exit(130)
        finally:
            supervisor.stop()


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="signpost-tests-"))
    folder.chmod(0o711)  # started by root, the servers run as somebody else
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(supervisor: Supervisor, folder: Path, with_rabbitmq: bool) -> dict[str, str]:
    """Start every server that no variable names; answers the variables that name them."""
    services: dict[str, PrivateService] = {}
    # The slowest first; they start side by side.
    if with_rabbitmq and not os.environ.get("TEST_AMQP_URL") and rabbitmq.available():
        services["TEST_AMQP_URL"] = rabbitmq.PrivateRabbitMQ(folder / "rabbitmq")
    postgres_port, valkey_port = free_ports(2)
    if not os.environ.get("TEST_DATABASE_URL"):
        services["TEST_DATABASE_URL"] = EmbeddedPostgres(
            folder / "postgres", port=postgres_port, options=_FORGETFUL
        )
    if not os.environ.get("TEST_REDIS_URL"):
        services["TEST_REDIS_URL"] = EmbeddedValkey(
            folder / "valkey", port=valkey_port, durable=False
        )
    for service in services.values():
        supervisor.start(service)
    for service in services.values():
        # Tests that need RabbitMQ wait for it themselves; the others need not.
        if not isinstance(service, rabbitmq.PrivateRabbitMQ):
            supervisor.wait_ready(service, 120)
    return {name: service.url for name, service in services.items()}


def _pytest_command(arguments: Sequence[str]) -> list[str]:
    """pytest with our plugin, on every core unless the arguments speak of that themselves.

    Two processes more than there are cores: half of the time is waited for servers and deadlines.
    """
    command = [sys.executable, "-m", "pytest", "-p", "tests.services.plugin", *arguments]
    if not any(argument.startswith(_PARALLEL_OPTIONS) for argument in arguments):
        # Tests that share something costly, such as a filled database, go to one process.
        command += ["-n", str((os.cpu_count() or 1) + 2)]
    return command


def _run(signals: StopSignals, command: Sequence[str], environ: dict[str, str]) -> int:
    """Run a command to its end, or to ours.

    Whatever the caller has set, Python keeps what it has compiled: the tests start hundreds of it.
    """
    environ = {name: environ[name] for name in environ if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, env=environ)
    while (status := process.poll()) is None:
        if signals.wait(0.2):
            return _interrupt(process)
    return status


def _interrupt(process: subprocess.Popen[bytes]) -> int:
    """Let it say what it knows: twice the signal ends pytest without ceremony."""
    for _ in range(2):
        try:
            process.send_signal(signal.SIGINT)
            return process.wait(15)
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    return process.wait()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
