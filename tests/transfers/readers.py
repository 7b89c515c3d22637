"""Clients of exports, on plain sockets: quick ones, slow ones, and some that go away."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from types import TracebackType
from typing import Any, Self


class ExportReader:
    """Opens an export, and reads as much of it as it is told to."""

    def __init__(self, port: int, key: str, path: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        # Little fits on the way, so that the server soon feels that nobody reads.
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        narrow.settimeout(60)
        narrow.connect(("127.0.0.1", port))
        self._connection.sock = self._socket = narrow
        headers = {"Authorization": f"Bearer {key}"}
        self._connection.request("GET", f"/api/v1/exports/{path}", headers=headers)
        self.response: HTTPResponse = self._connection.getresponse()
        self.status = self.response.status
        self.data = b""
        self.ended_whole = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    def read(self, size_bytes: int) -> None:
        """Read about so much."""
        end = len(self.data) + size_bytes
        while len(self.data) < end and (piece := self.response.read1(65536)):
            self.data += piece

    def read_all(self) -> None:
        """Read until it ends, or breaks off."""
        with suppress(OSError, HTTPException):
            while piece := self.response.read1(1 << 20):
                self.data += piece
            self.ended_whole = True

    def leave(self) -> None:
        """Go away without a word."""
        self.response.close()
        self._connection.close()
        self._socket.close()

    @property
    def lines(self) -> list[Any]:
        """The whole lines so far, of NDJSON."""
        return [json.loads(line) for line in self.data[: self.data.rfind(b"\n") + 1].splitlines()]

    @property
    def rows(self) -> list[Any]:
        """Those that are rows."""
        return [line for line in self.lines if "end" not in line]
