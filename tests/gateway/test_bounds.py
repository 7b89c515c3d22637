"""What a client may send, how slowly, how often; and what the gateway answers by itself."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import Settings
from tests.gateway.client import ApiClient, Connection, ask
from tests.gateway.system import HOST, Gateway, System
from tests.running import wait_until
from tests.services.certificates import Authority


def test_large_bodies_are_refused(system: System, api: ApiClient) -> None:
    size = Settings().max_body_bytes + 1
    connection = Connection(system.gateway)
    connection.putrequest("POST", "/api/v1/links", skip_host=True)
    for name, value in (api.headers | {"Host": HOST, "Content-Length": str(size)}).items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert response.headers["Content-Type"] == "application/problem+json"
    connection.close()


def test_large_headers_are_refused(system: System) -> None:
    ask(system.gateway, "GET", f"/{'x' * 9_000}").problem(414, "request-uri-too-long")
    answer = ask(system.gateway, "GET", "/x", headers={"X-Long": "x" * 9_000})
    answer.problem(431, "request-header-fields-too-large")


def test_errors_are_pages_for_people_and_problems_for_programs(system: System) -> None:
    page = ask(system.gateway, "GET", "/metrics", headers={"Accept": "text/html,*/*"})
    assert page.status == 404
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["X-Request-ID"].encode() in page.body
    ask(system.gateway, "TRACE", "/x").problem(405, "method-not-allowed")


def test_maintenance_is_a_file(system: System, api: ApiClient) -> None:
    slug = api.create_link()["slug"]
    home = system.gateway.home
    with switched_on(home / "maintenance.api"):
        answer = api.ask("GET", "/links")
        answer.problem(503, "service-unavailable")
        assert answer.headers["Retry-After"]
        assert ask(system.gateway, "GET", f"/{slug}").status == 302
    with switched_on(home / "maintenance.redirect"):
        page = ask(system.gateway, "GET", f"/{slug}", headers={"Accept": "text/html"})
        assert (page.status, page.headers["Retry-After"]) == (503, "30")
        assert b"back soon" in page.body
        assert api.ask("GET", "/links").status == 200
    assert api.ask("GET", "/links").status == 200


@contextlib.contextmanager
def switched_on(path: Path) -> Iterator[None]:
    path.touch()
    try:
        yield
    finally:
        path.unlink()


@pytest.fixture
def low_wall(
    system: System, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A second gateway before the same servers, with bounds that a test can reach."""
    with system.other_gateway(
        tmp_path_factory.mktemp("low"),
        authority,
        GATEWAY_REQUESTS_PER_SECOND="2",
        GATEWAY_API_REQUESTS_PER_SECOND="1",
        GATEWAY_CONNECTIONS="3",
        GATEWAY_CLIENT_SECONDS="1",
    ) as gateway:
        yield gateway


def test_visitors_behind_a_balancer_are_told_apart(
    system: System, authority: Authority, tmp_path: Path
) -> None:
    """By the PROXY protocol; and of IPv6 a visitor has a whole /64."""
    with system.other_gateway(
        tmp_path,
        authority,
        GATEWAY_PROXY_PROTOCOL_FROM="127.0.0.1",
        GATEWAY_REQUESTS_PER_SECOND="1",
    ) as gateway:

        def visit(address: str) -> int:
            connection = Connection(gateway, visitor=address)
            try:
                return connection.ask("GET", "/robots.txt").status
            finally:
                connection.close()

        assert [visit(f"2001:db8::{number}") for number in range(1, 6)] == [200] * 3 + [429] * 2
        assert visit("2001:db8:0:1::1") == 200
        assert [visit("198.51.100.7") for _ in range(4)] == [200] * 3 + [429]
        assert visit("198.51.100.8") == 200


def test_outer_wall(low_wall: Gateway, api: ApiClient) -> None:
    statuses = [ask(low_wall, "GET", "/robots.txt").status for _ in range(8)]
    assert statuses[:5] == [200] * 5
    refused = ask(low_wall, "GET", "/robots.txt")
    refused.problem(429, "too-many-requests")
    assert refused.headers["Retry-After"] == "1"
    # Each has a bound of its own.
    assert ask(low_wall, "GET", "/docs").status == 200
    assert 429 in [ask(low_wall, "GET", "/docs").status for _ in range(5)]


def test_slow_clients_are_cut_off(low_wall: Gateway) -> None:
    """A header that never ends, a byte at a time: it takes no place from others, and not long."""
    opened = [begin_slowly(low_wall) for _ in range(3)]
    began = time.monotonic()
    assert ask(low_wall, "GET", "/robots.txt").status == 200
    for stream in opened:
        wait_until(lambda stream=stream: not goes_on(stream), 5)
    assert 0.8 < time.monotonic() - began < 5


def begin_slowly(gateway: Gateway) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(gateway.authority.file))
    plain = socket.create_connection(("127.0.0.1", gateway.https_port), 10)
    stream = context.wrap_socket(plain, server_hostname=HOST)
    stream.sendall(b"GET /x HTTP/1.1\r\nHost: go.test\r\nX-Slow: ")
    stream.settimeout(0.05)
    return stream


def goes_on(stream: ssl.SSLSocket) -> bool:
    """Whether one more byte is taken."""
    try:
        stream.sendall(b"x")
        taken = stream.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        taken = False
    if not taken:
        stream.close()
    return taken
