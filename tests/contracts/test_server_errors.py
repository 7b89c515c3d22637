"""What a running gunicorn answers where it never asks the application, or cannot send its answer.

Each message goes to a server with the fast path; what must not be told is what `leaks` knows.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping

import pytest

from tests.contracts.leaks import leaks_in
from tests.redirects.wire.answers import Answer, read_conversation
from tests.redirects.wire.server import WebServer
from tests.running import wait_until

HOST = "Host: sign.test\r\n"
AUTHORIZED = f"{HOST}Authorization: Bearer sp_live_x\r\nContent-Type: application/json\r\n"
FORM = f"POST /walk HTTP/1.1\r\n{HOST}Content-Type: application/x-www-form-urlencoded\r\n"
CHUNKED = f"{FORM}Transfer-Encoding: chunked\r\n\r\n"
CODING = f"POST /walk HTTP/1.1\r\n{HOST}Transfer-Encoding: "
NOT_A_REQUEST: dict[str, bytes] = {
    "no request line": b"\x00\x01\x02\r\n\r\n",
    "half a request line": b"GET\r\n\r\n",
    "a TLS handshake": bytes.fromhex("160301006c0100006803034f") + b"\r\n\r\n",
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an odd method": f"G@T / HTTP/1.1\r\n{HOST}\r\n".encode(),
    "a short method": f"A / HTTP/1.1\r\n{HOST}\r\n".encode(),
    "an odd version": f"GET / HTTP/9.9\r\n{HOST}\r\n".encode(),
    "a long request line": f"GET /{'x' * 9000} HTTP/1.1\r\n{HOST}\r\n".encode(),
    "a long field": f"GET / HTTP/1.1\r\n{HOST}A: {'x' * 9000}\r\n\r\n".encode(),
    "many fields": (f"GET / HTTP/1.1\r\n{HOST}" + "A: b\r\n" * 200 + "\r\n").encode(),
    "a field without a colon": f"GET / HTTP/1.1\r\n{HOST}planted\r\n\r\n".encode(),
    "a field with an odd name": f"GET / HTTP/1.1\r\n{HOST}plan ted: x\r\n\r\n".encode(),
    "a folded field": f"GET / HTTP/1.1\r\n{HOST}A: b\r\n planted\r\n\r\n".encode(),
    "a body of two lengths": (
        f"POST /walk HTTP/1.1\r\n{HOST}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"
    ).encode(),
    "an odd length": f"POST /walk HTTP/1.1\r\n{HOST}Content-Length: planted\r\n\r\n".encode(),
    "an unknown coding": f"{CODING}planted\r\n\r\n".encode(),
    "a length and a coding": f"{CODING}chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n".encode(),
    "an odd expectation": f"POST /walk HTTP/1.1\r\n{HOST}Expect: planted\r\n\r\n".encode(),
    "an odd HEAD": f"HEAD / HTTP/1.1\r\n{HOST}plan ted: x\r\n\r\n".encode(),
    "an odd OPTIONS": f"OPTIONS * HTTP/1.1\r\n{HOST}plan ted: x\r\n\r\n".encode(),
}
# What the parser lets pass, or learns too late: the application or its reader answers.
ODD: dict[str, bytes] = {
    "no host": b"GET /api/v1/links HTTP/1.1\r\n\r\n",
    "an odd host": b"GET /api/v1/links HTTP/1.1\r\nHost: a b\r\n\r\n",
    "two hosts": f"GET /walk HTTP/1.1\r\n{HOST}Host: other.test\r\n\r\n".encode(),
    "an odd size of a chunk": (CHUNKED + "planted\r\n{}\r\n0\r\n\r\n").encode(),
    "a chunk without an end": (CHUNKED + "2\r\n{}planted\r\n").encode(),
    "a chunk with an odd extension": (CHUNKED + "2;\x00=planted\r\n{}\r\n0\r\n\r\n").encode(),
    "half a body": f"{FORM}Content-Length: 99\r\n\r\npassword=x".encode(),
    "a huge length": (
        f"POST /api/v1/links HTTP/1.1\r\n{AUTHORIZED}Content-Length: {10**18}\r\n\r\n"
    ).encode(),
    "an odd path": f"GET /%ff%00/../../etc/passwd HTTP/1.1\r\n{HOST}\r\n".encode(),
    "another site's address": f"GET http://other.test/walk HTTP/1.1\r\n{HOST}\r\n".encode(),
    "OPTIONS of everything": f"OPTIONS * HTTP/1.1\r\n{HOST}\r\n".encode(),
    "OPTIONS of the API": f"OPTIONS /api/v1/links HTTP/1.1\r\n{HOST}\r\n".encode(),
    "TRACE": f"TRACE / HTTP/1.1\r\n{HOST}Cookie: planted\r\n\r\n".encode(),
    "CONNECT": f"CONNECT other.test:443 HTTP/1.1\r\n{HOST}\r\n".encode(),
    "an unknown method": f"PLANT /api/v1/links HTTP/1.1\r\n{HOST}\r\n".encode(),
    "an upgrade": (
        f"GET /walk HTTP/1.1\r\n{HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    ).encode(),
    "HTTP/1.0": b"GET /walk HTTP/1.0\r\n\r\n",
}


@pytest.fixture(scope="module")
def settings_of_server(environ: dict[str, str]) -> dict[str, str]:
    return environ | {"SECRET_KEY": "a secret key of these tests", "GUNICORN_TIMEOUT_SECONDS": "2"}


@pytest.fixture(scope="module")
def server(
    settings_of_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebServer]:
    made = WebServer(tmp_path_factory.mktemp("errors") / "home", settings_of_server, fast=True)
    made.start()
    try:
        made.wait_ready()
        yield made
    finally:
        made.stop()


def send(port: int, data: bytes) -> bytes:
    """All that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        received = b""
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                received += piece
        except OSError:
            pass  # closed with something of ours unread: what it said is here
        return received


def check(received: bytes, environ: Mapping[str, str]) -> list[Answer]:
    """The answers, none of which tells anything; errors among them are problems."""
    assert leaks_in(received, environ) == [], received
    answers = list(read_conversation(received, b"", ended=True).answers)
    for answer in answers:
        if answer.code >= 400:
            assert answer.header(b"Content-Type") == b"application/problem+json", received
            assert answer.header(b"X-Content-Type-Options") == b"nosniff", received
            if answer.body:
                problem = json.loads(answer.body)
                assert problem["status"] == answer.code
                assert problem["type"].startswith("urn:signpost:problem:")
    return answers


@pytest.mark.parametrize("kind", NOT_A_REQUEST)
def test_what_is_no_request_is_told_nothing_but_that(
    server: WebServer, settings_of_server: dict[str, str], kind: str
) -> None:
    answers = check(send(server.port, NOT_A_REQUEST[kind]), settings_of_server)
    assert answers, kind
    assert answers[-1].code in {400, 403, 405, 413, 414, 417, 431, 501, 505}
    assert answers[-1].header(b"Connection") == b"close"


@pytest.mark.parametrize("kind", ODD)
def test_odd_request_is_no_error_of_the_server(
    server: WebServer, settings_of_server: dict[str, str], kind: str
) -> None:
    answers = check(send(server.port, ODD[kind]), settings_of_server)
    assert all(answer.code < 500 for answer in answers), answers
    assert server.errors == []


def test_worker_that_is_too_slow_answers_nothing(
    server: WebServer, settings_of_server: dict[str, str]
) -> None:
    silent = server.worker
    os.kill(silent, signal.SIGSTOP)
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        fields = f"{HOST}Connection: close\r\n\r\n"
        connection.sendall(f"GET /api/v1/links HTTP/1.1\r\n{fields}".encode())
        received = b""
        try:
            while piece := connection.recv(65_536):
                received += piece
        except ConnectionResetError:
            pass
    # The connection is either cut with the worker, or taken up by the next one.
    assert leaks_in(received, settings_of_server) == [], received
    wait_until(lambda: server.workers not in ([], [silent]))
    wait_until(lambda: send(server.port, f"GET /walk HTTP/1.1\r\n{HOST}\r\n".encode()) != b"")


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize("path", ["/walk", "/api/v1/links", "/health/ready"])
def test_server_without_its_dependencies_tells_nothing(
    lonely: tuple[WebServer, dict[str, str]], path: str, accept: str
) -> None:
    server, environ = lonely
    for method in ("GET", "HEAD"):
        fields = f"{HOST}X-Api-Key: sp_live_x\r\nAccept: {accept}\r\n\r\n"
        received = send(server.port, f"{method} {path} HTTP/1.1\r\n{fields}".encode())
        assert leaks_in(received, environ) == [], received
        (answer,) = read_conversation(received, b"", ended=True).answers
        assert answer.code in (401, 503), received
    options = send(server.port, f"OPTIONS {path} HTTP/1.1\r\n{HOST}\r\n".encode())
    assert leaks_in(options, environ) == [], options


@pytest.fixture(scope="module")
def lonely(
    settings_of_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[WebServer, dict[str, str]]]:
    """A server with nothing behind it."""
    nowhere = "secret-user:secret-password@127.0.0.1:1"
    environ = settings_of_server | {
        "DATABASE_URL": f"postgresql://{nowhere}/planted_database",
        "REDIS_URL": f"redis://{nowhere}/0",
        "AMQP_URL": f"amqp://{nowhere}/planted-host",
    }
    server = WebServer(tmp_path_factory.mktemp("lonely") / "home", environ, fast=True)
    server.start()
    try:
        deadline = time.monotonic() + 60
        while b"live" not in _try(server.port):
            assert time.monotonic() < deadline, server.log
            time.sleep(0.1)
        yield server, environ
    finally:
        server.stop()


def _try(port: int) -> bytes:
    try:
        return send(port, f"GET /health/live HTTP/1.1\r\n{HOST}\r\n".encode())
    except OSError:
        return b""
