"""What a Sentry is told by real processes, whose database fails them in ways nobody expects.

Unexpected is what no code of ours provokes: tables that are gone, a constraint that is new.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from api import __version__
from api.core.database.routing import Database
from api.identity.service import IdentityService
from api.jobs.application import make_celery
from api.jobs.names import FETCH_TITLE
from config.settings import Settings
from tests.conftest import migrated_database
from tests.redirects.wire.server import WebServer
from tests.reports.ingest import KEY, Ingest, ingesting
from tests.running import ROOT, clean_environ
from tests.services.network import free_ports

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"  # pragma: allowlist secret
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
# Sent with each request that fails; none of it may be told.
SECRETS = [
    "hunter2-of-the-link",
    "visitor-of-mine",
    "cookie-crumbs",
    "query-of-mine",
    "203.0.113.77",
]
DETAIL = "Failing row contains"


@pytest.fixture(scope="module")
def ingest() -> Iterator[Ingest]:
    with ingesting() as running:
        yield running


@pytest.fixture(scope="module")
def broken_environ(
    environ: dict[str, str], ingest: Ingest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The settings of an installation with a database of its own, which tests may break."""
    with migrated_database() as url:
        yield environ | {
            "DATABASE_URL": url,
            "SECRET_KEY": uuid.uuid4().hex,
            "SENTRY_DSN": ingest.dsn,
            "SENTRY_ENVIRONMENT": "tests",
            "WEB_CONCURRENCY": "2",
            "TRUSTED_PROXIES": "127.0.0.1",
            "JOBS_QUEUE": f"test.jobs.{uuid.uuid4().hex[:12]}",
            "FETCH_TITLES": "true",
            "LOG_FORMAT": "json",
            "SIGNPOST_HOME": str(tmp_path_factory.mktemp("reports") / "home"),
        }


@pytest.fixture(scope="module")
def key(broken_environ: dict[str, str]) -> Iterator[str]:
    settings = Settings.load(broken_environ)
    db = Database(settings)
    identity = IdentityService(db, settings.resolved_secret_key())
    yield identity.create_key(identity.create_workspace("Reports").id, name="Reports")[1]
    db.dispose()


@pytest.fixture(scope="module")
def server(broken_environ: dict[str, str]) -> Iterator[WebServer]:
    with serving(broken_environ) as made:
        yield made


@contextmanager
def serving(environ: dict[str, str]) -> Iterator[WebServer]:
    made = WebServer(Path(environ["SIGNPOST_HOME"]), environ, fast=True)
    made.start()
    try:
        made.wait_ready()
        yield made
    finally:
        made.stop()


@contextmanager
def broken(environ: dict[str, str], statement: str, repair: str) -> Iterator[None]:
    """The database, changed for a while."""
    for each in (statement, None, repair):
        if each is None:
            yield
            continue
        connection = psycopg2.connect(environ["DATABASE_URL"])
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(each)
        connection.close()


def without_links(environ: dict[str, str]) -> Any:
    return broken(environ, "ALTER TABLE links RENAME TO lost", "ALTER TABLE lost RENAME TO links")


def send(
    server: WebServer, key: str, method: str, path: str, body: str | None = None, **headers: str
) -> int:
    """One request, with all that must not be told."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    sent = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "Cookie": f"browser={SECRETS[2]}",
        "X-Forwarded-For": SECRETS[4],
        "X-Request-ID": "request-of-a-test",
        "traceparent": TRACEPARENT,
    }
    try:
        connection.request(method, path, body, sent | headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def check_nothing_is_told(ingest: Ingest, key: str) -> None:
    """All bytes that came, looked through."""
    for body in ingest.bodies:
        text = body.decode()
        assert [secret for secret in (*SECRETS, key, DETAIL) if secret in text] == []


LINK = f'{{"url": "https://{SECRETS[1]}.example/?q=1", "password": "{SECRETS[0]}"}}'


def test_error_of_a_view_is_told_with_its_facts_and_without_what_was_sent(
    server: WebServer, key: str, broken_environ: dict[str, str], ingest: Ingest
) -> None:
    ingest.clear()
    planted = "ALTER TABLE links ADD CONSTRAINT planted CHECK (url !~ 'visitor-of-mine')"
    with broken(broken_environ, planted, "ALTER TABLE links DROP CONSTRAINT planted"):
        assert send(server, key, "POST", "/api/v1/links", LINK) == 500
    (event,) = ingest.wait()
    assert event["release"] == f"signpost@{__version__}"
    assert event["environment"] == "tests"
    assert event["transaction"] == "/api/v1/links"
    assert event["level"] == "error"
    assert event["request"] == {"method": "POST"}
    tags = event["tags"]
    assert {name: tags[name] for name in ("process", "method", "status", "request_id")} == {
        "process": "web",
        "method": "POST",
        "status": "500",
        "request_id": "request-of-a-test",
    }
    assert tags["trace_id"] == TRACE == event["contexts"]["trace"]["trace_id"]
    assert (tags["sqlstate"], tags["constraint"]) == ("23514", "planted")
    assert tags["workspace"].isdigit()
    database = event["contexts"]["database"]
    assert database["table"] == "links"
    assert "INSERT INTO links" in database["statement"]
    (*_, last) = event["exception"]["values"]
    assert last["type"] == "IntegrityError"
    assert last["mechanism"]["handled"] is False
    assert "violates check constraint" in last["value"]
    frames = last["stacktrace"]["frames"]
    assert any(frame["filename"] == "api/links/routes.py" for frame in frames)
    assert not any("vars" in frame for frame in frames)
    assert "server_name" not in event
    assert "user" not in event
    # Nor does the log repeat the row, or what the statement was called with.
    assert "violates check constraint" in server.log
    assert [secret for secret in (*SECRETS, key) if secret in server.log] == []
    check_nothing_is_told(ingest, key)


def test_question_of_a_single_round_trip_names_its_statement(
    server: WebServer, key: str, broken_environ: dict[str, str], ingest: Ingest
) -> None:
    ingest.clear()
    with without_links(broken_environ):
        assert send(server, key, "GET", "/unknown-slug-of-mine") == 500
    (event,) = ingest.wait()
    assert event["transaction"] == "/<slug:slug>"
    assert event["tags"]["sqlstate"] == "42P01"
    assert event["contexts"]["database"]["statement"].split()[0] == "SELECT"
    assert "unknown-slug-of-mine" not in ingest.bodies[0].decode()
    check_nothing_is_told(ingest, key)


def test_storm_of_the_same_error_sends_few(
    server: WebServer, key: str, broken_environ: dict[str, str], ingest: Ingest
) -> None:
    ingest.clear()
    with (
        without_links(broken_environ),
        closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection,
    ):
        for _ in range(300):
            headers = {"Authorization": f"Bearer {key}"}
            connection.request("GET", f"/api/v1/links?q={SECRETS[3]}", headers=headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 500
    events = ingest.wait()
    time.sleep(0.3)
    assert len(events) <= len(ingest.events) <= 2 * 3  # of each worker
    assert server.log.count('"unexpected error"') >= 300
    check_nothing_is_told(ingest, key)


def test_mistakes_of_clients_and_absent_dependencies_send_nothing(
    broken_environ: dict[str, str], key: str, ingest: Ingest, tmp_path: Path, server: WebServer
) -> None:
    ingest.clear()
    assert send(server, key, "GET", "/api/v1/links/1") == 404
    assert send(server, key, "GET", "/no-such-slug") == 404
    assert send(server, key, "POST", "/api/v1/links", '{"url": 1}') == 422
    assert send(server, key, "POST", "/api/v1/links", "{") == 400
    assert send(server, "sp_live_wrong", "GET", "/api/v1/links") == 401
    nothing = broken_environ | {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "SIGNPOST_HOME": str(tmp_path / "home"),
        "PLANS": "",
    }
    with serving(nothing) as lonely:
        assert send(lonely, key, "GET", "/api/v1/links") == 503
        assert send(lonely, key, "GET", "/some-slug") == 503
    assert ingest.events == []


def test_error_right_before_the_end_is_delivered(
    broken_environ: dict[str, str], key: str, ingest: Ingest, tmp_path: Path
) -> None:
    ingest.clear()
    ingest.delay_seconds = 0.5
    try:
        environ = broken_environ | {"SIGNPOST_HOME": str(tmp_path / "home")}
        with serving(environ) as ending, without_links(broken_environ):
            assert send(ending, key, "GET", "/api/v1/links") == 500
            assert ending.stop() == 0
        assert len(ingest.events) == 1
    finally:
        ingest.delay_seconds = 0.0


@pytest.mark.parametrize("sentry", [pytest.param("away", marks=pytest.mark.slow), "slow"])
def test_sentry_that_is_away_or_slow_holds_up_nobody(
    broken_environ: dict[str, str], key: str, ingest: Ingest, tmp_path: Path, sentry: str
) -> None:
    ingest.delay_seconds = 1.5
    dsn = ingest.dsn if sentry == "slow" else f"http://{KEY}@127.0.0.1:{free_ports(1)[0]}/42"
    try:
        own = {"SIGNPOST_HOME": str(tmp_path / "home"), "SENTRY_DSN": dsn, "WEB_CONCURRENCY": "1"}
        with serving(broken_environ | own) as server, without_links(broken_environ):
            send(server, key, "GET", "/api/v1/links")
            started = time.monotonic()
            for path in ("/api/v1/links", "/slug-one", "/api/v1/links?tag=a"):
                assert send(server, key, "GET", path) == 500
            assert time.monotonic() - started < 1
            stopping = time.monotonic()
            server.stop()
            assert time.monotonic() - stopping < 6
    finally:
        ingest.delay_seconds = 0.0


def test_ingest_tells_of_its_errors_and_what_it_asked_before(
    server: WebServer, key: str, broken_environ: dict[str, str], ingest: Ingest
) -> None:
    status, link = server.call(key, "POST", "/links", {"url": "https://e.test/", "title": "T"})
    assert status == 201
    assert send(server, key, "GET", f"/{link['slug']}") == 302
    ingest.clear()
    lost = "ALTER TABLE clicks RENAME TO lost_clicks", "ALTER TABLE lost_clicks RENAME TO clicks"
    with broken(broken_environ, *lost), process(broken_environ, "scripts/consume-clicks") as done:
        (event, *_) = ingest.wait()
        done.send_signal(signal.SIGTERM)
        assert done.wait(20) == 0
    assert event["tags"]["process"] == "clicks"
    assert event["tags"]["sqlstate"] == "42P01"
    assert event["release"] == f"signpost@{__version__}"
    crumbs = event["breadcrumbs"]["values"]
    assert any(crumb["category"] == "query" for crumb in crumbs)
    assert not any("data" in crumb for crumb in crumbs)
    assert len(ingest.events) <= 3
    check_nothing_is_told(ingest, key)


def test_job_that_fails_is_told_by_name(
    broken_environ: dict[str, str], key: str, ingest: Ingest
) -> None:
    ingest.clear()
    celery = make_celery(Settings.load(broken_environ))
    assert celery is not None
    lost = "ALTER TABLE title_fetches RENAME TO lost", "ALTER TABLE lost RENAME TO title_fetches"
    with broken(broken_environ, *lost), process(broken_environ, "scripts/run-jobs") as done:
        celery.send_task(FETCH_TITLE, args=("71234567890123456",))
        (event, *_) = ingest.wait()
        done.send_signal(signal.SIGTERM)
        assert done.wait(20) == 0
    celery.close()
    assert event["tags"]["process"] == "jobs"
    assert event["transaction"] == FETCH_TITLE
    assert event["tags"]["sqlstate"] == "42P01"
    assert event["extra"]["celery-job"]["task_name"] == FETCH_TITLE
    assert event["exception"]["values"][-1]["mechanism"]["type"] == "celery"
    assert "71234567890123456" not in ingest.bodies[0].decode()
    assert len(ingest.events) == 1
    check_nothing_is_told(ingest, key)


def test_script_that_fails_unexpectedly_tells(
    broken_environ: dict[str, str], ingest: Ingest
) -> None:
    ingest.clear()
    planted = "ALTER TABLE api_keys ADD CONSTRAINT planted CHECK (name <> 'visitor-of-mine')"
    with broken(broken_environ, planted, "ALTER TABLE api_keys DROP CONSTRAINT planted"):
        ran = ["scripts/create-key", "--name", "visitor-of-mine"]
        with process(broken_environ, *ran) as done:
            assert done.wait(20) == 1
    (event,) = ingest.events
    assert event["tags"]["process"] == "scripts/create-key"
    assert event["tags"]["constraint"] == "planted"
    check_nothing_is_told(ingest, KEY + "x")


@contextmanager
def process(environ: dict[str, str], *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A script of ours that runs until it is told to stop."""
    started = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=clean_environ(Path(environ["SIGNPOST_HOME"])) | environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.wait()


def test_wrong_dsn_stops_the_start_and_is_not_repeated() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/consume-clicks", "--once"],
        cwd=ROOT,
        env={**os.environ, "SENTRY_DSN": f"https://{KEY}@sentry.test/"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.strip().endswith("SENTRY_DSN: Not a Sentry DSN (https://key@host/project).")
    assert KEY not in done.stdout + done.stderr
