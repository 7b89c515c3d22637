"""The whole, from the link to its statistics, over servers that speak TLS alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from api.core.database.migrate import migrate
from config.settings import Settings
from tests.redirects.wire.links import make_key, must
from tests.redirects.wire.server import WebServer
from tests.running import BROWSER, ROOT, clean_environ, wait_until
from tests.services.certificates import Authority
from tests.services.postgres import PrivatePostgres
from tests.services.rabbitmq import PrivateRabbitMQ
from tests.services.redis import PrivateRedis

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def environ(
    authority: Authority,
    database: PrivatePostgres,
    cache: PrivateRedis,
    queue: PrivateRabbitMQ,
    tmp_path: Path,
) -> dict[str, str]:
    return {
        "DATABASE_URL": database.url(f"sslmode=verify-full&sslrootcert={authority.file}"),
        "REDIS_URL": cache.url(f"ssl_ca_certs={authority.file}"),
        "AMQP_URL": queue.tls_url(f"cacertfile={authority.file}"),
        "SIGNPOST_HOME": str(tmp_path / "home"),
        "BASE_URL": "http://sign.test",
    }


@pytest.fixture
def web(environ: dict[str, str], tmp_path: Path) -> Iterator[WebServer]:
    migrate(Settings.load(environ), report=lambda line: None)
    server = WebServer(tmp_path / "home", environ, fast=True)
    server.start()
    server.wait_ready()
    yield server
    assert server.stop() == 0
    assert not server.errors, server.errors[0]


def test_click_goes_all_the_way(web: WebServer, environ: dict[str, str]) -> None:
    key = make_key(Settings.load(environ))
    link = must(web.call(key, "POST", "/links", {"url": "https://example.com/", "slug": "tls"}))
    with ask(web, "/api/v1/live", Authorization=f"Bearer {key}") as watched:
        for _ in range(5):
            with ask(web, "/tls", **{"Host": "sign.test", "User-Agent": BROWSER}) as visit:
                assert visit.status == 302
        wait_until(lambda: consume(environ) or clicks(web, key, link["id"]) == 5)
        event = b""
        while b"event: click" not in event:
            event += watched.readline()

    with ask(web, "/health/ready") as ready:
        checks = json.loads(ready.read())["checks"]
    assert {name: check["status"] for name, check in checks.items()} == {
        "database": "up",
        "redis": "up",
        "spool": "up",
        "queue": "up",
        "disk": "up",
    }


@contextmanager
def ask(web: WebServer, path: str, **headers: str) -> Iterator[HTTPResponse]:
    with closing(HTTPConnection("127.0.0.1", web.port, timeout=30)) as connection:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as response:
            yield response


def consume(environ: dict[str, str]) -> None:
    """Count what waits in the queue."""
    done = subprocess.run(
        [sys.executable, "scripts/consume-clicks", "--once", "--json"],
        check=False,
        cwd=ROOT,
        env=clean_environ(Path(environ["SIGNPOST_HOME"])) | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def clicks(web: WebServer, key: str, link_id: str) -> int:
    return int(must(web.call(key, "GET", f"/links/{link_id}/stats"))["total"]["clicks"])
