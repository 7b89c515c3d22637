"""gunicorn with a certificate of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path

import gevent
import gevent.socket
import gevent.ssl
import pytest
from gevent.pool import Pool

from api.core import worker
from config.settings import Settings
from tests.redirects.wire.links import make_key
from tests.redirects.wire.server import WebServer
from tests.running import running, wait_until
from tests.services.certificates import Authority

START_SECONDS = 60


class SecureSite:
    """A web server that has a certificate, seen by a client that knows its authority."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._authority = Authority(folder / "authority")
        self._files = folder / "own.pem", folder / "own.key"
        self.renew()
        self.context = ssl.create_default_context(cafile=str(self._authority.file))
        self.settings = environ | {
            "TLS_CERTIFICATE": str(self._files[0]),
            "TLS_KEY": str(self._files[1]),
            "BASE_URL": "https://localhost",
        }
        self.server = WebServer(folder / "home", self.settings, fast=True)

    def renew(self) -> None:
        """Put another certificate in place of the one that is there."""
        issued = self._authority.issue("localhost")
        for source, place in zip((issued.certificate, issued.key), self._files, strict=True):
            shutil.copy(source, place)

    def serial(self) -> str:
        """The number of the certificate that the server shows."""
        with (
            socket.create_connection(("127.0.0.1", self.server.port), 10) as connection,
            self.context.wrap_socket(connection, server_hostname="localhost") as secured,
        ):
            return str((secured.getpeercert() or {})["serialNumber"])

    def connect(self) -> HTTPSConnection:
        """A connection that has agreed on TLS."""
        made = HTTPSConnection("localhost", self.server.port, timeout=30, context=self.context)
        made.connect()
        return made


@pytest.fixture(scope="module")
def secured(
    environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecureSite]:
    made = SecureSite(tmp_path_factory.mktemp("secure"), environ)
    made.server.start()

    def up() -> bool:
        try:
            made.connect().close()
        except OSError:
            return False
        return True

    wait_until(up, START_SECONDS)
    yield made
    assert made.server.stop() == 0
    assert not made.server.errors, made.server.errors[0]


def test_links_are_made_and_followed_over_tls(secured: SecureSite) -> None:
    key = make_key(Settings.load(secured.settings))
    connection = secured.connect()
    body = json.dumps({"url": "https://example.com/tls", "slug": "over-tls"})
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/api/v1/links", body, headers)
    response = connection.getresponse()
    assert response.status == 201
    assert json.loads(response.read())["short_url"] == "https://localhost/over-tls"

    for _ in range(3):
        connection.request("GET", "/over-tls", headers={"X-Forwarded-Proto": "http"})
        response = connection.getresponse()
        response.read()
        assert (response.status, response.headers["Location"]) == (302, "https://example.com/tls")
        assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
    connection.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_newer_are_spoken(secured: SecureSite, version: ssl.TLSVersion) -> None:
    secured.context.minimum_version = secured.context.maximum_version = version
    try:
        secured.serial()
    finally:
        secured.context.minimum_version = ssl.TLSVersion.TLSv1_2
        secured.context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED


def test_older_tls_is_refused_by_the_server(secured: SecureSite) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1

    with (
        socket.create_connection(("127.0.0.1", secured.server.port), 10) as connection,
        pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"),
    ):
        old.wrap_socket(connection)


def test_plain_http_gets_no_answer_and_is_no_error(secured: SecureSite) -> None:
    with socket.create_connection(("127.0.0.1", secured.server.port), 10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            answer = connection.recv(4096)
        except ConnectionResetError:
            answer = b""
    assert not answer.startswith(b"HTTP")
    assert secured.serial()
    assert "Traceback" not in secured.server.log


def test_renewed_certificate_is_shown_after_a_hangup(secured: SecureSite) -> None:
    before = secured.serial()
    secured.renew()
    os.kill(secured.server._process.pid, signal.SIGHUP)

    wait_until(lambda: secured.serial() != before, START_SECONDS)


def test_who_does_not_agree_on_tls_in_time_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker, "_HANDSHAKE_SECONDS", 0.1)
    issued = Authority(tmp_path).issue("localhost")
    context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    silent, ours = gevent.socket.socketpair()
    client = context.wrap_socket(ours, server_side=True, do_handshake_on_connect=False)
    started = time.monotonic()

    assert not worker._shake_hands(client)

    assert time.monotonic() - started < 5
    silent.close()
    client.close()


def test_who_came_just_before_the_end_is_served(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("localhost")
    context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    trusting = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(authority.file)
    listener = gevent.socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    acceptor = worker.Acceptor(
        listener,
        handle=lambda client, _: client.sendall(b"here"),
        spawn=Pool(),
        ssl_context=context,
    )
    acceptor.start()
    with gevent.socket.create_connection(listener.getsockname(), 10) as connection:
        acceptor.close()  # the connection is taken, and its turn has not come yet
        with trusting.wrap_socket(connection, server_hostname="localhost") as secured:
            assert secured.recv(16) == b"here"


def test_start_says_where_it_is(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    issued = authority.issue("localhost")
    settings = {"TLS_CERTIFICATE": str(issued.certificate), "TLS_KEY": str(issued.key)}

    with running(tmp_path / "home", **settings) as signpost:
        assert f"Signpost is ready at https://127.0.0.1:{signpost.port}" in signpost.output
