"""Who asks the gateway: over TLS, by a host's name, without a name server."""

from __future__ import annotations

import json
import socket
import ssl
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any

from tests.gateway.system import HOST, Gateway
from tests.running import BROWSER


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self, status: int, code: str) -> None:
        """Check that it is this problem."""
        assert self.status == status, self.body
        assert self.headers["Content-Type"] == "application/problem+json"
        body = self.json
        assert (body["status"], body["type"]) == (status, f"urn:signpost:problem:{code}")
        assert body["instance"] == f"urn:request:{self.headers['X-Request-ID']}"


class Connection(HTTPSConnection):
    """A kept connection to the gateway on loopback, by the name of a host."""

    def __init__(
        self, gateway: Gateway, host: str = HOST, *, visitor: str = "", buffer_bytes: int = 0
    ) -> None:
        """With a `visitor`, whose address a balancer tells by the PROXY protocol; with a buffer
        of so many bytes for what has come and was not read."""
        self._visitor = visitor
        self._buffer_bytes = buffer_bytes
        self._tls = ssl.create_default_context(cafile=str(gateway.authority.file))
        super().__init__(host, gateway.https_port, timeout=30, context=self._tls)

    def connect(self) -> None:
        """Connect to loopback, whatever the host's name is."""
        plain = socket.socket()
        plain.settimeout(self.timeout)
        if self._buffer_bytes:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_bytes)
        plain.connect(("127.0.0.1", self.port))
        if self._visitor:
            kind = "TCP6" if ":" in self._visitor else "TCP4"
            balancer = "::1" if ":" in self._visitor else "127.0.0.1"
            line = f"PROXY {kind} {self._visitor} {balancer} 50000 {self.port}\r\n"
            plain.sendall(line.encode())
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and read its answer."""
        self.request(
            method, path, body, {"User-Agent": BROWSER, "Host": self.host, **(headers or {})}
        )
        return read(self.getresponse())


def ask(gateway: Gateway, method: str, path: str, host: str = HOST, **more: Any) -> Answer:
    """One request over a connection of its own."""
    connection = Connection(gateway, host)
    try:
        return connection.ask(method, path, **more)
    finally:
        connection.close()


def ask_plainly(gateway: Gateway, method: str, path: str, host: str = HOST) -> Answer:
    """One request over http."""
    connection = HTTPConnection("127.0.0.1", gateway.http_port, timeout=10)
    try:
        connection.request(method, path, headers={"Host": host})
        return read(connection.getresponse())
    finally:
        connection.close()


def read(response: HTTPResponse) -> Answer:
    """An answer with its whole body."""
    return Answer(response.status, response.headers, response.read())


class ApiClient:
    """Calls the API with a key, and follows links."""

    def __init__(self, gateway: Gateway, key: str) -> None:
        self.gateway = gateway
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """A call, whatever comes back."""
        text = None if body is None else json.dumps(body).encode()
        return ask(self.gateway, method, f"/api/v1{path}", body=text, headers=self.headers)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The parsed JSON of a success."""
        answer = self.ask(method, path, body)
        assert answer.status < 300, answer.body
        return answer.json

    def follow(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str | None]:
        """The status, and where it leads."""
        answer = ask(self.gateway, method, path, headers=headers)
        return answer.status, answer.headers["Location"]

    def import_rows(self, key: str, lines: Iterator[bytes]) -> Answer:
        """Send an import as its lines come."""
        connection = Connection(self.gateway)
        kind = {"Content-Type": "application/x-ndjson", "Idempotency-Key": key}
        headers = {**self.headers, **kind, "Host": HOST}
        try:
            connection.request("POST", "/api/v1/imports", lines, headers, encode_chunked=True)
            return read(connection.getresponse())
        finally:
            connection.close()

    def create_link(self, url: str = "https://example.com/") -> dict[str, Any]:
        """A new link."""
        slug = f"gate-{uuid.uuid4().hex[:12]}"
        return dict(self.call("POST", "/links", {"url": url, "slug": slug}))
