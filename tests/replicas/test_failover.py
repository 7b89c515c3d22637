"""The primary ends or is demoted: redirects go on, writes wait, and the next one is found."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import orjson
import pytest
from werkzeug.test import TestResponse

from tests.redirects.shared_redis import SharedRedis
from tests.redirects.wire.server import WebServer
from tests.replicas.site import Site, replicas_of, within
from tests.services.replication import Replicated, replicated, several_hosts


class Client:
    """Asks a web server, each time over a connection of its own."""

    def __init__(self, server: WebServer, key: str) -> None:
        self._port = server.port
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str], Any]:
        """The status, the headers and the JSON of an answer."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=15)
        sent = None if body is None else orjson.dumps(body)
        connection.request(method, path, sent, self._headers | {"Host": "sign.test"})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        is_json = "json" in response.headers.get("Content-Type", "")
        return response.status, dict(response.headers), orjson.loads(content) if is_json else None

    def follow(self, link: dict[str, Any]) -> int:
        """The status of a visit."""
        return self.ask("GET", f"/{link['slug']}")[0]

    def create(self) -> tuple[int, dict[str, str], Any]:
        """A new link."""
        return self.ask("POST", "/api/v1/links", {"url": "https://example.com/"})


class Load:
    """Visitors and a writer who never stop."""

    def __init__(self, client: Client, known: dict[str, Any]) -> None:
        self.visits: list[int] = []
        self.writes: list[tuple[int, Any]] = []
        self._stopped = threading.Event()
        self._client = client
        self._known = known
        self._threads = [
            threading.Thread(target=self._visit),
            threading.Thread(target=self._visit),
            threading.Thread(target=self._write),
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _visit(self) -> None:
        while not self._stopped.wait(0.01):
            self.visits.append(self._client.follow(self._known))

    def _write(self) -> None:
        while not self._stopped.wait(0.05):
            status, _, link = self._client.create()
            self.writes.append((status, link))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    """A primary and two standbys that nobody else needs."""
    with replicated(tmp_path_factory.mktemp("replicated") / "servers") as made:
        yield made


@pytest.fixture
def server(servers: Replicated, site: Site, tmp_path: Path) -> Iterator[WebServer]:
    """A web server that knows where the primary may be."""
    url = several_hosts([servers.primary, servers.standbys[0]])
    made = WebServer(tmp_path / "home", site.environ | {"DATABASE_URL": url}, fast=True)
    made.start()
    try:
        made.wait_ready()
        yield made
    finally:
        made.stop()


def test_a_primary_that_is_killed_under_load_is_replaced_without_a_restart(
    servers: Replicated, site: Site, server: WebServer
) -> None:
    maker = site.process()
    caller = site.caller(maker)
    client = Client(server, caller.key)
    reader = site.caller(maker)
    theirs = reader.create_link()
    known, *unknown = [caller.create_link() for _ in range(6)]
    assert client.follow(known) == 302
    assert client.create()[0] == 201
    servers.settle()
    for link in unknown:
        site.redis.let_time_pass(f"sign.test/{link['slug']}")
    promoted, follower = servers.standbys

    with Load(client, known) as load:
        assert within(5, lambda: len(load.writes) > 5 and len(load.visits) > 20)
        servers.primary.kill()

        assert within(5, lambda: client.create()[0] == 503)
        status, headers, problem = client.create()
        assert (status, problem["status"]) == (503, 503)
        assert int(headers["Retry-After"]) > 0
        assert [client.follow(link) for link in unknown] == [302] * len(unknown)
        # Who does not write may read; of what the others wrote last, some may be nowhere else.
        path = f"/api/v1/links/{theirs['id']}"
        assert within(2, lambda: Client(server, reader.key).ask("GET", path)[0] == 200)
        # What was found is told for a second.
        assert within(3, lambda: client.ask("GET", "/health/ready")[2]["status"] == "degraded")
        ready, _, health = client.ask("GET", "/health/ready")
        assert ready == 200
        assert health["checks"]["database"]["status"] == "down"

        promoted.promote()
        follower.follow(promoted)
        after = len(load.writes)
        assert within(10, lambda: load.writes[-1][0] == 201)
        time.sleep(0.5)

    assert set(load.visits) == {302}
    assert {status for status, _ in load.writes} == {201, 503}
    made = [link for status, link in load.writes[after:] if status == 201]
    assert all(client.ask("GET", f"/api/v1/links/{link['id']}")[0] == 200 for link in made)
    assert client.follow(made[-1]) == 302

    def are_read_again() -> bool:
        checks = client.ask("GET", "/health/ready")[2]["checks"]
        return bool(checks["database"]["status"] == checks["main-replica-2"]["status"] == "up")

    assert within(10, are_read_again)
    assert "main-replica-1 is down: it is a primary itself" in server.log
    assert f"primary main is at 127.0.0.1:{promoted.port} now" in server.log
    assert not server.errors


@pytest.mark.parametrize("first", ["patch", pytest.param("create", marks=pytest.mark.slow)])
def test_a_primary_that_is_demoted_is_left_by_all_connections(
    first: str,
    own_redis: SharedRedis,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with replicated(tmp_path_factory.mktemp("demoted") / "servers", standbys=1) as servers:
        (standby,) = servers.standbys
        site = Site(servers, own_redis, str(tmp_path / "home"))
        url = several_hosts([servers.primary, standby])
        app = site.process(DATABASE_URL=url, DATABASE_REPLICA_URLS="")
        caller = site.caller(app)
        link = caller.create_link()

        def patch() -> TestResponse:
            return caller.patch(f"/links/{link['id']}", {"title": "After"})

        def create() -> TestResponse:
            return caller.post("/links", {"url": "https://example.com/"})

        assert (patch().status_code, create().status_code) == (200, 201)
        caller.patch(f"/links/{link['id']}", {"title": "Before"})
        servers.settle()
        standby.promote()
        servers.primary.ask("ALTER SYSTEM SET default_transaction_read_only = on")
        servers.primary.ask("SELECT pg_reload_conf()")
        assert within(5, lambda: servers.primary.ask("SHOW transaction_read_only") == "on")

        # Transactions and single statements have pools of their own: one tells of both.
        refused = patch() if first == "patch" else create()
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        assert (patch().status_code, create().status_code) == (200, 201)

        assert standby.ask("SELECT count(*) FROM links WHERE title = 'After'") == 1
        assert "an audit event was not written" not in caplog.text
        assert not replicas_of(app).replicas
        site.close()
