"""What is measured: servers that are started, loaded, and asked to account for their clicks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from api.core.embedded.commands import CommandService
from api.core.embedded.errors import EmbeddedError
from bench.cores import Cores, pinned
from tests.running import ROOT
from tests.services.network import free_ports

_START_SECONDS = 60.0
_GRACE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Link:
    """A link that contestants know."""

    slug: str
    url: str


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the clicks that a contestant recorded."""

    counted: int
    seconds: float  # that counting took, after the load


class Contestant:
    """A server as one process tree, started on the cores that are its own."""

    name: str
    source: str  # where it can be read
    health: str = "/"
    records_clicks = False

    def __init__(self, folder: Path, cores: Cores) -> None:
        self.folder = folder / "".join(c if c.isalnum() else "-" for c in self.name.lower())
        self.folder.mkdir(mode=0o711)
        self.port = free_ports(1)[0]
        self.cores = cores
        self._service: CommandService | None = None

    @property
    def process_id(self) -> int:
        """Of its first process."""
        process_id = self._service.process_id if self._service else None
        if process_id is None:
            raise EmbeddedError(f"{self.name} does not run: {self._complaint()}")
        return process_id

    def command(self) -> Sequence[str]:
        """The command line that serves."""
        raise NotImplementedError

    def environ(self) -> Mapping[str, str]:
        """The environment of that command."""
        raise NotImplementedError

    def settle(self) -> Account:
        """Count every click that was recorded; for those that record them."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            EmbeddedError: it does not.
        """
        self._service = CommandService(
            self.name,
            self.command(),
            environ=self.environ(),
            folder=ROOT,
            lock=self.folder / "lock",
            log=self.folder / "log",
            grace_seconds=_GRACE_SECONDS,
        )
        with pinned(self.cores.server):
            self._service.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._service.exit_status() is not None or time.monotonic() > deadline:
                raise EmbeddedError(f"{self.name} does not start: {self._complaint()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it in an orderly way."""
        if self._service is not None:
            self._service.stop()

    def check_redirects(self, links: Sequence[Link]) -> int:
        """Follow each link once, so that it is known to be right and in the caches.

        Answers how many clicks that makes.

        Raises:
            EmbeddedError: an answer is not the redirect that it must be.
        """
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            for link in links:
                connection.request("GET", f"/{link.slug}")
                answer = connection.getresponse()
                answer.read()
                found = answer.status, answer.headers["Location"], answer.headers["Cache-Control"]
                if found != (302, self.location_of(link), "private, no-store"):
                    raise EmbeddedError(f"{self.name} answered {found} to /{link.slug}")
        finally:
            connection.close()
        return len(links)

    def location_of(self, link: Link) -> str:
        """Where this contestant sends those who follow a link."""
        return link.url

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", self.health)
            return connection.getresponse().status in (200, 302, 404)
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _complaint(self) -> str:
        log = self.folder / "log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return lines[-1] if lines else "it says nothing"
