"""Connections with TLS go through the parser, and are served as all others."""

from __future__ import annotations

import ssl
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from flask import Flask

from api.identity.service import IdentityService
from tests.caller import Caller
from tests.redirects.wire.server import WebServer


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for this host, and its key, in one file."""
    path = tmp_path / "tls.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", path],
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture
def server(environ: dict[str, str], certificate: Path, tmp_path: Path) -> Iterator[WebServer]:
    settings = environ | {"GUNICORN_CMD_ARGS": f"--certfile={certificate} --keyfile={certificate}"}
    made = WebServer(tmp_path / "home", settings, fast=True)
    made.start()
    yield made
    made.stop()


def test_link_is_followed_over_tls(
    app: Flask, identity: IdentityService, server: WebServer, certificate: Path
) -> None:
    link = Caller.of_new_workspace(app, identity).create_link("https://example.com/tls")
    context = ssl.create_default_context(cafile=str(certificate))
    connection = HTTPSConnection("127.0.0.1", server.port, timeout=30, context=context)
    deadline = time.monotonic() + 60
    while True:
        try:
            connection.connect()
            break
        except OSError:
            assert time.monotonic() < deadline, server.log
            time.sleep(0.1)
    for _ in range(5):
        connection.request("GET", f"/{link['slug']}", headers={"Host": "sign.test"})
        response = connection.getresponse()
        response.read()
        assert (response.status, response.headers["Location"]) == (302, "https://example.com/tls")
    connection.close()
    server.stop()
    assert sum(click.link_id == int(link["id"]) for click in server.spool.read()) == 5
