"""A server that visitors and callers reach without a gateway, and its ways to be replaced."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import uuid
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path

from tests.gateway.client import Answer, read
from tests.gateway.load import IDEMPOTENT, Load
from tests.gateway.system import Server
from tests.running import BROWSER, children_of, is_ready, wait_until
from tests.services.network import free_ports

_END_SECONDS = 40.0


class DirectServer(Server):
    """Every service in one, started as the Procfile says."""

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        self.port = free_ports(1)[0]
        super().__init__(home, "all", self.port, {"WEB_CONCURRENCY": "2", **settings})
        # Not `python -m gunicorn`: executed anew, it finds gunicorn's `http` before Python's.
        program = str(Path(sys.executable).with_name("gunicorn"))
        self._arguments = [program, "--config", "config/gunicorn.py", "wsgi:app"]
        self._upgraded: int | None = None

    @property
    def master(self) -> int:
        """The process that is told what to do."""
        assert self.process is not None
        return self._upgraded or self.process.pid

    def renew(self) -> None:
        """SIGHUP: workers are replaced; back when the last of the old ones has gone."""
        before = set(children_of(self.master))
        os.kill(self.master, signal.SIGHUP)
        wait_until(lambda: not before & set(children_of(self.master)), _END_SECONDS)
        wait_until(self.answers)

    def upgrade(self) -> None:
        """SIGUSR2: a new master, with new code, beside ours on the same socket; then ours ends."""
        before, workers = self.master, set(children_of(self.master))
        os.kill(before, signal.SIGUSR2)
        wait_until(lambda: any(map(children_of, set(children_of(before)) - workers)), _END_SECONDS)
        (self._upgraded,) = set(children_of(before)) - workers
        wait_until(lambda: len(children_of(self.master)) == 2, _END_SECONDS)
        promoted = self._promotions()
        os.kill(before, signal.SIGTERM)
        wait_until(lambda: not lives(before), _END_SECONDS)
        # It looks each second whether it has become the only one; until then it takes no SIGUSR2.
        wait_until(lambda: self._promotions() > promoted)
        wait_until(self.answers)

    def _promotions(self) -> int:
        return self.log.read_text().count("Master has been promoted")

    def answers(self) -> bool:
        """Whether it says that it is ready."""
        return is_ready(self.port)

    def create_link(self, key: Mapping[str, str]) -> str:
        """A new link; its slug."""
        slug = f"roll-{uuid.uuid4().hex[:12]}"
        body = json.dumps({"url": "https://example.com/", "slug": slug}).encode()
        connection = DirectConnection("127.0.0.1", self.port, timeout=10)
        assert connection.ask("POST", "/api/v1/links", body, key).status == 201
        connection.close()
        return slug

    def stop(self) -> None:
        """Stop whichever master there is."""
        upgraded, self._upgraded = self._upgraded, None
        if upgraded is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(upgraded, signal.SIGTERM)
            wait_until(lambda: not lives(upgraded), _END_SECONDS)
        super().stop()


def lives(process_id: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    if state == "Z":
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process_id, os.WNOHANG)
    return state != "Z"


class DirectConnection(HTTPConnection):
    """A connection that asks once more where it was kept and the server had closed it meanwhile, as
    clients do with what may be sent twice (RFC 9112 section 9.3.1)."""

    again = 0

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and read its answer."""
        kept = self.sock is not None
        if kept and method not in IDEMPOTENT:
            self.close()
            kept = False
        try:
            return self._ask(method, path, body, headers)
        except (RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self.close()
            if not kept:
                raise
            self.again += 1
            return self._ask(method, path, body, headers)

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None
    ) -> Answer:
        self.request(method, path, body, {"User-Agent": BROWSER, **(headers or {})})
        return read(self.getresponse())


class DirectLoad(Load):
    """Visitors and callers of a server, without a gateway."""

    def __init__(self, server: DirectServer, key: Mapping[str, str], slugs: Sequence[str]) -> None:
        self._server = server
        self.again = 0
        super().__init__(server, key, slugs)  # type: ignore[arg-type]

    def connect(self) -> DirectConnection:  # type: ignore[override]
        """A new connection."""
        return DirectConnection("127.0.0.1", self._server.port, timeout=30)

    def note_end(self, connection: DirectConnection) -> None:  # type: ignore[override]
        """Count what was asked once more."""
        with self._lock:
            self.again += connection.again
