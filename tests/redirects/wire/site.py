"""One server with a link, and clients that take their time with it."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from config.settings import Settings
from tests.redirects.wire.answers import Answer, count_answers, read_conversation
from tests.redirects.wire.links import TARGET, make_key, make_link
from tests.redirects.wire.pair import request
from tests.redirects.wire.server import WebServer

# Longer than any answer takes, on a machine that others use, too.
PATIENCE_SECONDS = 10.0


class Site:
    """A server that knows one link. Usable as a context, which starts and stops it."""

    def __init__(self, folder: Path, settings: Mapping[str, str], *, fast: bool) -> None:
        self.host = f"{uuid.uuid4().hex[:12]}.test"
        self._settings = {**settings, "BASE_URL": f"http://{self.host}"}
        self._home = folder / self.host
        self.server = WebServer(self._home, self._settings, fast=fast)
        self.answered = 0

    def __enter__(self) -> Self:
        self.server.start()
        try:
            self.server.wait_ready()
            key = make_key(Settings.load({**self._settings, "SIGNPOST_HOME": str(self._home)}))
            make_link(self.server, key, slug="plain", url=TARGET + "x" * 1900)
            for _ in range(3):
                with Client(self) as client:
                    client.ask()
                time.sleep(0.2)
        except BaseException:
            self.server.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        status = self.server.stop()
        if kind is None:
            assert status == 0, self.server.log[-2000:]
            assert not self.server.errors, self.server.errors[0]
            # Whatever a test did, clicks are all there: none of them was without an answer.
            assert len(self.server.spool.read()) == self.answered

    def request(self, query: str = "", *lines: str) -> bytes:
        """A request for the link."""
        return request(f"/plain{query}", self.host, *lines)


class Client:
    """One connection to a site."""

    def __init__(self, site: Site, receive_bytes: int = 0) -> None:
        self._site = site
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(("127.0.0.1", site.server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def ask(self, query: str = "", *lines: str) -> float:
        """Follow the link; answers how many seconds that took."""
        started = time.monotonic()
        self.send(self._site.request(query, *lines))
        self.expect_redirect()
        return time.monotonic() - started

    def expect_redirect(self) -> Answer:
        """Read an answer, which must send us on."""
        while not (answers := read_conversation(self._received, b"", ended=False).answers):
            data = self.socket.recv(65536)
            assert data, f"closed after {self._received!r}"
            self._received += data
        assert len(answers) == 1, answers
        answer, self._received = answers[0], b""
        assert answer.code == 302, answer
        assert answer.header(b"Location") == f"{TARGET}{'x' * 1900}".encode()
        self._site.answered += 1
        return answer

    def receive_answers(self, count: int) -> bytes:
        """So many answers, whatever they are."""
        received = b""
        while count_answers(received) < count:
            data = self.socket.recv(1_000_000)
            assert data, "closed"
            received += data
        return received

    def read_to_the_end(self) -> bytes:
        """All that comes until the server closes."""
        received = self._received
        try:
            while data := self.socket.recv(65536):
                received += data
        except ConnectionResetError:
            pass
        return received
