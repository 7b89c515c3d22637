"""A whole Signpost on loopback, in one folder: its servers, web workers and consumers.

Its database is as durable as in production. Each part can be killed, and is started again.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from api.core.embedded.commands import CommandService
from api.core.embedded.errors import EmbeddedError
from api.core.embedded.postgres import EmbeddedPostgres
from api.core.embedded.supervisor import Service, StopRequested, StopSignals
from api.core.embedded.valkey import EmbeddedValkey
from tests.running import ROOT, children_of, clean_environ, is_ready
from tests.services import rabbitmq
from tests.services.network import free_ports

_START_SECONDS = 120.0
_GRACE_SECONDS = 30.0
_LONGEST_AWAY_SECONDS = 1.5
_RETRY_SECONDS = 0.5


@dataclass
class Part:
    """One process that can be killed, with what it starts."""

    kind: str
    service: Service
    starts_at: float | None = None  # when it is to be started again

    def is_running(self) -> bool:
        return self.starts_at is None and self.service.exit_status() is None


class PrivateSystem:
    """Usable from the main thread, where it must be started, looked after and stopped."""

    def __init__(
        self,
        folder: Path,
        signals: StopSignals,
        *,
        broker: bool,
        workers: int = 2,
        consumers: int = 2,
        postgres_options: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.port = free_ports(1)[0]
        self.postgres = EmbeddedPostgres(folder / "postgres", options=postgres_options)
        self.valkey = EmbeddedValkey(folder / "valkey")
        self.rabbitmq = rabbitmq.PrivateRabbitMQ(folder / "rabbitmq") if broker else None
        self.parts: list[Part] = []
        self._signals = signals
        self._workers = workers
        self._consumers = consumers
        self._settings = dict(settings or {})

    def start(self) -> None:
        """Start everything and wait until redirects are answered.

        Raises:
            EmbeddedError: something does not start.
            StopRequested: a signal came first.
        """
        self.home.mkdir(mode=0o700)
        self.start_servers()
        self.start_web()
        for number in range(1, self._consumers + 1):
            self.start_consumer(number)

    def start_consumer(self, number: int = 1) -> None:
        """Start a process that counts clicks."""
        self._start("consumer", self._command(f"consumer{number}", "scripts/consume-clicks"))

    def add(self, service: Service) -> None:
        """Start one more server beside the others, and wait until it is ready."""
        self._start(service.name, service)
        self._wait_ready(service)

    def start_servers(self) -> None:
        """Start what Signpost stands on, and bring the schema up to date."""
        self.home.mkdir(mode=0o700, exist_ok=True)
        if self.rabbitmq is not None:
            self._start("rabbitmq", self.rabbitmq)  # the slowest first; they start side by side
        self._start("postgres", self.postgres)
        self._start("valkey", self.valkey)
        for part in self.parts:
            self._wait_ready(part.service)
        self.run_script("scripts/migrate")

    def start_web(self) -> None:
        """Start the web server and wait until it is ready."""
        arguments = ("-m", "gunicorn", "--config", "config/gunicorn.py")
        web = self._command("web", *arguments, is_ready=self._answers)
        self._start("master", web)
        self._wait_ready(web)

    def environ(self) -> dict[str, str]:
        """The settings of every process of this system."""
        settings = {
            "PORT": str(self.port),
            "WEB_CONCURRENCY": str(self._workers),
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.valkey.url,
        }
        if self.rabbitmq is not None:
            settings["AMQP_URL"] = self.rabbitmq.url
        return clean_environ(self.home, **(settings | self._settings))

    def run_script(self, *arguments: str, aloud: bool = False) -> str:
        """Run one of our scripts to its end; answers what it printed.

        Its messages are part of its failure, or come out as they are when it runs `aloud`.

        Raises:
            EmbeddedError: it failed.
        """
        done = subprocess.run(
            [sys.executable, *arguments],
            check=False,
            cwd=ROOT,
            env=self.environ(),
            stdout=subprocess.PIPE,
            stderr=None if aloud else subprocess.PIPE,
            text=True,
        )
        if done.returncode != 0:
            raise EmbeddedError(f"{arguments[0]} failed: {(done.stderr or 'see above').strip()}")
        return done.stdout

    def create_links(self, count: int) -> list[dict[str, Any]]:
        """Links of a new workspace, as the API shows them; the key is kept as `key`."""
        self.key = json.loads(self.run_script("scripts/bootstrap", "--json"))["key"]
        links: list[dict[str, Any]] = []
        while len(links) < count:
            operations = [
                {"op": "create", "link": {"url": f"https://example.com/page/{number}"}}
                for number in range(len(links), min(count, len(links) + 500))
            ]
            body = self.call("POST", "/api/v1/links/batch", {"operations": operations})
            links += [result["link"] for result in body["results"]]
        return links

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API; answers the parsed JSON of a success.

        Raises:
            EmbeddedError: it was not one.
        """
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise EmbeddedError(f"{method} {path} answered {response.status}: {answer[:200]!r}")
        return json.loads(answer)

    def kill(self, kind: str, chance: random.Random) -> bool:
        """End a process of a kind with SIGKILL; whether there was one."""
        running = [part for part in self.parts if part.is_running()]
        victims = [part.service.process_id for part in running if part.kind == kind]
        if kind == "worker":
            masters = [part.service.process_id for part in running if part.kind == "master"]
            victims = [pid for master in masters if master for pid in children_of(master)]
        if not victims:
            return False
        victim = chance.choice(victims)
        if victim is not None:
            os.kill(victim, signal.SIGKILL)
        return victim is not None

    def look_after(self, chance: random.Random) -> None:
        """Start again what has ended, after a moment; to be called often."""
        now = time.monotonic()
        for part in self.parts:
            if part.starts_at is None and part.service.exit_status() is not None:
                part.starts_at = now + chance.uniform(0, _LONGEST_AWAY_SECONDS)
            elif part.starts_at is not None and now >= part.starts_at:
                self._start_again(part)

    def recover(self) -> None:
        """Bring everything back at once, and wait until it is ready."""
        for part in self.parts:
            deadline = time.monotonic() + _START_SECONDS
            while not (part.is_running() and part.service.ready()):
                if time.monotonic() > deadline:
                    raise EmbeddedError(f"{part.service.name} does not come back")
                if part.service.exit_status() is not None:
                    self._start_again(part)
                self._signals.check(0.1)

    def stop_parts(self, *kinds: str) -> None:
        """Stop the parts of these kinds in an orderly way; the others go on."""
        for part in [part for part in self.parts if part.kind in kinds]:
            part.service.stop()
            self.parts.remove(part)

    def stop(self) -> None:
        """Stop everything, last started first."""
        while self.parts:
            self.parts.pop().service.stop()

    def wait(self, seconds: float) -> None:
        """Sleep.

        Raises:
            StopRequested: a signal came.
        """
        self._signals.check(seconds)

    def _start(self, kind: str, service: Service) -> None:
        # Noted before its start: a failure half-way through must be undone, too.
        self.parts.append(Part(kind, service))
        service.start()

    def _start_again(self, part: Part) -> None:
        try:
            part.service.start()
        except (EmbeddedError, OSError):
            part.starts_at = time.monotonic() + _RETRY_SECONDS
        else:
            part.starts_at = None

    def _wait_ready(self, service: Service) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not service.ready():
            if service.exit_status() is not None:
                raise EmbeddedError(f"{service.name} did not start: {service.complaint()}")
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{service.name} is not ready after {_START_SECONDS:.0f} s")
            self._signals.check(0.05)

    def _command(self, name: str, *arguments: str, **options: Any) -> CommandService:
        return CommandService(
            name,
            [sys.executable, *arguments],
            environ=self.environ(),
            folder=ROOT,
            lock=self.folder / f"{name}.lock",
            log=self.folder / f"{name}.log",
            grace_seconds=_GRACE_SECONDS,
            **options,
        )

    def _answers(self) -> bool:
        return is_ready(self.port)


@contextmanager
def private_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder, which stays when an error leaves the context."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o711)  # started by root, the servers run as somebody else
    try:
        yield folder
    except StopRequested:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
