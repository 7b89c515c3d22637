"""What goes wrong tells a client nothing, at whatever layer it does: every route is asked."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import psycopg2
import pytest
from flask import Flask
from jinja2 import FunctionLoader
from sqlalchemy.engine import make_url
from werkzeug.test import TestResponse

from api.app import create_app
from api.core.loading import Loader
from api.identity.service import IdentityService
from config.settings import Settings
from tests.caller import Caller
from tests.conftest import migrated_database
from tests.contracts.leaks import PLANTED, leaks_in
from tests.contracts.walk import API, Asked, requests_of
from tests.redirects.proxy import Relay

# Without what these hold nobody is let in, and nothing else is reached.
AUTHENTICATION = {"workspaces", "api_keys", "users", "memberships", "domains"}
# Where nobody listens; a name and a password that no answer may repeat.
NOWHERE = "secret-user:secret-password@127.0.0.1:1"

# As GET, and nothing at all.
EASY = ("HEAD", "OPTIONS")
VISITS = ("GET", "HEAD", "POST")


@dataclass(frozen=True)
class Site:
    """An application, its environment, and somebody who has a key and a link."""

    app: Flask
    environ: Mapping[str, str]
    caller: Caller
    link: dict[str, Any]

    def walk(self, accept: str = "*/*", without: Container[str] = ()) -> dict[str, int]:
        """Ask every route; the status of each answer, none of which tells anything.

        `without` these methods.
        """
        ids = {"link_id": self.link["id"], "workspace_id": str(self.caller.workspace_id)}
        requests = [
            *requests_of(self.app, ids),
            *(Asked(method, f"/{self.link['slug']}", "redirects.follow") for method in VISITS),
            Asked("GET", f"{API}/nothing", "none"),
            Asked("PUT", f"{API}/links", "none"),
        ]
        requests.sort(key=lambda asked: asked.method == "DELETE")  # what is asked of is there
        return {
            f"{asked}": self.ask(asked, accept) for asked in requests if asked.method not in without
        }

    def with_another_link(self) -> Site:
        """The same with a link that nobody has asked for yet."""
        return replace(self, link=self.caller.create_link())

    def ask(self, asked: Asked, accept: str = "*/*") -> int:
        """Send one request; the status of its answer."""
        headers = {"Authorization": f"Bearer {self.caller.key}", "Accept": accept}
        headers["Host"] = "sign.test"
        with self.app.test_client().open(headers=headers, **asked.arguments()) as answer:
            told = on_the_wire(answer)
            assert leaks_in(told, self.environ) == [], f"{asked}\n{told.decode()}"
            if answer.status_code >= 400 and asked.method != "HEAD":
                kinds = {"application/problem+json", "application/json", "text/html; charset=utf-8"}
                assert answer.content_type in kinds, asked
            return answer.status_code


def on_the_wire(answer: TestResponse) -> bytes:
    """An answer's head; of an error, or of how the service is, its body too."""
    head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    status = f"HTTP/1.1 {answer.status}\r\n"
    told = answer.status_code >= 400 or answer.request.path.startswith("/health")
    return f"{status}{head}\r\n".encode() + (answer.data if told else b"")


@contextlib.contextmanager
def site(url: str, home: Path, **settings: str) -> Iterator[Site]:
    """A site on a migrated database."""
    environ = {
        "DATABASE_URL": url,
        "REDIS_URL": "",
        "SIGNPOST_HOME": str(home),
        "SECRET_KEY": "a secret key of these tests",
        "METRICS_TOKEN": "a metrics token of these tests",
        "BASE_URL": "http://sign.test",
        "REDIRECT_WARM_ENTRIES": "0",
        **settings,
    }
    app = create_app(Settings.load(environ))
    app.extensions["signpost"].start_worker()
    try:
        identity = app.extensions["signpost.services"][IdentityService]
        caller = Caller.of_new_workspace(app, identity)
        yield Site(app, environ, caller, caller.create_link())
    finally:
        app.extensions["signpost"].stop_worker()


@pytest.fixture
def own_url() -> Iterator[str]:
    """A migrated database that a test may break."""
    with migrated_database() as url:
        yield url


@pytest.fixture
def whole(own_url: str, tmp_path: Path) -> Iterator[Site]:
    """A site with nothing broken yet."""
    with site(own_url, tmp_path / "home") as made:
        yield made


@pytest.fixture
def unbroken(app: Flask, environ: dict[str, str], caller: Caller) -> Site:
    """What others stand on too, for what breaks nothing."""
    return Site(app, environ, caller, caller.create_link())


class _Refusal(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while self.request.recv(65_536):
            self.request.sendall(f"-ERR {PLANTED}\r\n".encode())


@pytest.fixture
def refusing_redis() -> Iterator[int]:
    """The port of a Redis that answers everything with an error."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Refusal) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def run(url: str, *statements: str) -> None:
    """Change a database."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


def tables_of(url: str) -> list[str]:
    """Its tables, without the parts of those that are divided."""
    asked = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
    where = " AND relnamespace = 'public'::regnamespace"
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(asked + where)
        return sorted(row[0] for row in cursor.fetchall())


def failures(statuses: Mapping[str, int], status: int) -> int:
    """How many requests were answered so."""
    return sum(each == status for each in statuses.values())


def troubles(statuses: Mapping[str, int]) -> dict[str, int]:
    """Requests that ended in an error of ours. Live clicks and imports are there with a working
    Redis only."""
    return {
        asked: status
        for asked, status in statuses.items()
        if status >= 500 and not asked.endswith(("/live", f"POST {API}/imports"))
    }


def test_routing_tells_nothing(whole: Site) -> None:
    statuses = whole.walk()
    assert failures(statuses, 404) > 5
    assert failures(statuses, 405) >= 1
    assert troubles(statuses) == {}
    for path in (
        f"{API}/links/x",
        "//",
        "/%ff",
        "/a%00b",
        f"{API}/../etc/passwd",
        "/docs/assets/x",
    ):
        for method in ("GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND"):
            assert whole.ask(Asked(method, path, "none")) < 500


@pytest.mark.parametrize("host", ["a b", "[::1", "a/b", "x" * 300, "ä", ""])
def test_odd_host_tells_nothing(unbroken: Site, host: str) -> None:
    for path in (f"{API}/links", "/walk", "/health/live"):
        answer = unbroken.app.test_client().get(path, headers={"Host": host})
        assert answer.status_code < 500
        assert leaks_in(on_the_wire(answer), unbroken.environ) == []


BODIES: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"{'url': ", "application/json"),
    "not UTF-8": (b'{"url": "\xff\xfe"}', "application/json"),
    "half a surrogate": (b'{"url": "\\ud800"}', "application/json"),
    "too deep": (b"[" * 200_000, "application/json"),
    "too large a number": (b'{"url": 1' + b"0" * 5000 + b"}", "application/json"),
    "no object": (b"[1, 2]", "application/json"),
    "nothing": (b"", "application/json"),
    "another type": (b"<x/>", "application/xml"),
    "an odd type": (b"{}", "application/json; charset=\xff"),
    "a form": (b"url=%ff&a=%00", "application/x-www-form-urlencoded"),
    "half a multipart": (b"--x\r\nContent-Disp", "multipart/form-data; boundary=x"),
    "too long": (b'"' + b"x" * 20_000_000 + b'"', "application/json"),
    "U+0000": (b'{"url": "a\\u0000b", "b\\u0000": 1}', "application/json"),
    "wrong fields": (
        b'{"url": {"a": []}, "tags": 1, "expires_at": "x", "z": 1}',
        "application/json",
    ),
}


@pytest.mark.parametrize("kind", BODIES)
def test_unreadable_body_tells_nothing(unbroken: Site, kind: str) -> None:
    body, content_type = BODIES[kind]
    refused = 0
    for asked in requests_of(unbroken.app, {"link_id": unbroken.link["id"]}):
        if asked.method in ("POST", "PUT", "PATCH"):
            answer = unbroken.app.test_client().open(
                asked.path,
                method=asked.method,
                data=body,
                content_type=content_type,
                headers={"Authorization": f"Bearer {unbroken.caller.key}"},
            )
            assert answer.status_code < 500, (asked, answer.text)
            assert leaks_in(on_the_wire(answer), unbroken.environ) == [], asked
            refused += answer.status_code in (400, 413, 415, 422)
    assert refused > 3


def fail(*_: object, **__: object) -> NoReturn:
    raise RuntimeError(PLANTED)


class Failing:
    """Stands for a service, and fails at whatever is asked of it."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        return fail


def test_failing_service_tells_nothing(whole: Site) -> None:
    services = whole.app.extensions["signpost.services"]
    failed = {}
    for kind in [kind for kind in services if kind is not Settings]:
        walker = whole.with_another_link()
        working, services[kind] = services[kind], Failing()
        failed[kind.__name__] = failures(walker.walk(without=EASY), 500)
        services[kind] = working
    # Others are asked by no route, or only with what the walk does not send.
    assert sum(count > 0 for count in failed.values()) > 12, failed


def test_failing_authentication_tells_nothing(whole: Site) -> None:
    whole.app.extensions["signpost.authenticator"] = fail
    assert failures(whole.walk(), 500) > 20


def test_failing_schema_tells_nothing(whole: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loader, "load", fail)
    assert failures(whole.walk(), 500) > 10


def test_failing_template_tells_nothing(whole: Site) -> None:
    whole.app.jinja_env.cache = None
    whole.app.jinja_env.loader = FunctionLoader(lambda name: f"{{% {name} planted")
    assert failures(whole.walk(accept="text/html"), 500) > 3


def test_broken_statement_tells_nothing(whole: Site, own_url: str) -> None:
    broken = [name for name in tables_of(own_url) if name not in AUTHENTICATION]
    run(own_url, *(f"DROP TABLE {name} CASCADE" for name in broken))
    statuses = whole.walk()
    assert failures(statuses, 500) > 10
    assert failures(whole.walk(accept="text/html"), 500) > 10


def test_broken_directory_tells_nothing(whole: Site, own_url: str) -> None:
    run(own_url, *(f"DROP TABLE {name} CASCADE" for name in tables_of(own_url)))
    whole.app.extensions["signpost"].db.dispose()
    assert failures(whole.walk(), 500) > 10


def test_broken_constraint_tells_nothing(whole: Site, own_url: str) -> None:
    run(
        own_url,
        *(
            f"ALTER TABLE {name} ADD CONSTRAINT planted CHECK (false) NOT VALID"
            for name in tables_of(own_url)
        ),
    )
    assert failures(whole.walk(), 500) > 3


def test_slow_statement_tells_nothing(own_url: str, tmp_path: Path) -> None:
    with (
        site(own_url, tmp_path / "home", DB_STATEMENT_TIMEOUT_SECONDS="0.05") as slow,
        contextlib.closing(psycopg2.connect(own_url)) as other,
        other.cursor() as cursor,
    ):
        for name in tables_of(own_url):
            if name not in AUTHENTICATION:
                cursor.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
        assert failures(slow.walk(), 503) > 10


def test_dead_database_tells_nothing(own_url: str, tmp_path: Path) -> None:
    url = make_url(own_url)
    with Relay(url.host or "127.0.0.1", url.port or 5432) as relay:
        behind = url.set(host="127.0.0.1", port=relay.port).render_as_string(hide_password=False)
        with site(behind, tmp_path / "home") as dead:
            relay.cut()
            assert failures(dead.walk(), 503) > 10
            assert failures(dead.walk(accept="text/html"), 503) > 10


def test_unknown_database_tells_nothing(own_url: str, tmp_path: Path) -> None:
    with site(own_url, tmp_path / "home") as known:
        url = make_url(own_url).set(database="planted_database")
        environ = {**known.environ, "DATABASE_URL": url.render_as_string(hide_password=False)}
        app = create_app(Settings.load(environ))
        unknown = Site(app, environ, known.caller, known.link)
        assert failures(unknown.walk(), 503) > 10


def test_absent_redis_and_broker_tell_nothing(own_url: str, tmp_path: Path) -> None:
    away = {"REDIS_URL": f"redis://{NOWHERE}/7", "AMQP_URL": f"amqp://{NOWHERE}/secret-host"}
    with site(own_url, tmp_path / "home", **away) as lonely:
        statuses = lonely.walk()
        assert statuses["GET /health/ready"] == 200
        assert troubles(statuses) == {}


def test_a_redis_that_refuses_tells_nothing(
    own_url: str, tmp_path: Path, refusing_redis: int
) -> None:
    url = f"redis://127.0.0.1:{refusing_redis}/0"
    with site(own_url, tmp_path / "home", REDIS_URL=url) as refused:
        statuses = refused.walk()
        assert troubles(statuses) == {}
