"""Health: what a process says of itself while what it needs is there, away or hanging."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask

from api.app import create_app
from api.operations.health import HealthService
from config.settings import Settings
from tests.conftest import METRICS_TOKEN, OPERATOR, new_database


def make_app(tmp_path: Path, **environ: str) -> Flask:
    return create_app(
        Settings.load(
            {
                "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
                "REDIS_URL": "redis://127.0.0.1:1/0",
                "SIGNPOST_HOME": str(tmp_path),
                "SECRET_KEY": "a secret of the tests only",
                "METRICS_TOKEN": METRICS_TOKEN,
                **environ,
            }
        )
    )


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_live_needs_nothing(tmp_path: Path) -> None:
    answer = make_app(tmp_path).test_client().get("/health/live")
    assert (answer.status_code, answer.json) == (200, {"status": "live"})


def test_ready_names_each_dependency(app: Flask) -> None:
    answer = app.test_client().get("/health/ready")
    assert answer.status_code == 200
    assert (answer.json or {})["checks"]["database"]["status"] == "up"
    assert answer.headers["Cache-Control"] == "no-store"


def test_without_redis_the_process_is_degraded_but_ready(tmp_path: Path, database_url: str) -> None:
    answer = make_app(tmp_path, DATABASE_URL=database_url).test_client().get("/health/ready")
    assert answer.status_code == 200
    assert (answer.json or {})["status"] == "degraded"
    assert (answer.json or {})["checks"]["redis"]["status"] == "down"


def test_without_its_database_the_process_is_not_ready(tmp_path: Path) -> None:
    answer = make_app(tmp_path).test_client().get("/health/ready")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert (answer.json or {})["status"] == "unready"


def test_a_hanging_database_does_not_hang_the_answer(tmp_path: Path, silent_port: int) -> None:
    url = f"postgresql://nobody@127.0.0.1:{silent_port}/none"
    started = time.monotonic()
    answer = make_app(tmp_path, DATABASE_URL=url).test_client().get("/health/ready")
    assert answer.status_code == 503
    assert time.monotonic() - started < 10


def test_startup_waits_for_the_schema(app: Flask, tmp_path: Path) -> None:
    assert app.test_client().get("/health/startup").status_code == 200
    assert make_app(tmp_path).test_client().get("/health/startup").status_code == 503


def test_an_empty_database_is_told_as_behind(tmp_path: Path) -> None:
    with new_database() as url:
        client = make_app(tmp_path, DATABASE_URL=url).test_client()
        answer = client.get("/health/startup", headers=OPERATOR)
        assert answer.status_code == 503
        assert answer.json is not None
        assert [check["status"] for check in answer.json["checks"].values()] == ["behind"]
        assert client.get("/health/ready").status_code in (200, 503)


def test_ready_tells_how_the_spool_is(app: Flask) -> None:
    answer = app.test_client().get("/health/ready", headers=OPERATOR).json or {}
    spool = answer["checks"]["spool"]
    assert spool["status"] == "up"
    assert spool["bytes"] >= 0
    assert spool["bound"] == 1 << 30
    assert spool["oldest_age_seconds"] >= 0
    assert spool["lost_clicks"] == 0


def test_a_spool_past_its_bound_is_not_ready(tmp_path: Path, database_url: str) -> None:
    app = make_app(tmp_path, DATABASE_URL=database_url, SPOOL_MAX_BYTES="1000000")
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "0000000000001-left.ready").write_bytes(b"x" * 1_000_001)
    answer = app.test_client().get("/health/ready", headers=OPERATOR)
    assert answer.status_code == 503
    spool = (answer.json or {})["checks"]["spool"]
    assert (spool["status"], spool["bytes"], spool["bound"]) == ("down", 1_000_001, 1_000_000)
    assert "SPOOL_MAX_BYTES" in spool["reason"]


def test_without_its_broker_the_process_is_degraded_but_ready(
    tmp_path: Path, database_url: str
) -> None:
    app = make_app(tmp_path, DATABASE_URL=database_url, AMQP_URL="amqp://127.0.0.1:1/")
    app.extensions["signpost"].start_worker()
    try:
        answer = app.test_client().get("/health/ready", headers=OPERATOR)
    finally:
        app.extensions["signpost"].stop_worker()
    assert answer.status_code == 200
    queue = (answer.json or {})["checks"]["queue"]
    assert queue["status"] == "down"
    assert re.match(r"\d{4}-\d\d-\d\dT", queue["since"])


def test_everybody_sees_what_is_up_and_only_an_operator_why_not(tmp_path: Path) -> None:
    app = make_app(tmp_path, AMQP_URL="amqp://127.0.0.1:1/")
    for path in ("/health/ready", "/health/startup"):
        public = app.test_client().get(path)
        assert public.status_code == 503
        assert all(set(check) == {"status"} for check in (public.json or {})["checks"].values())
        for wrong in ("Bearer wrong", "Basic eDp5"):
            headers = {"Authorization": wrong}
            assert (app.test_client().get(path, headers=headers).json or {}) == public.json
        told = (app.test_client().get(path, headers=OPERATOR).json or {})["checks"]
        assert set(told) == set((public.json or {})["checks"])
        assert all(check["reason"] for check in told.values() if check["status"] == "down")


def test_many_who_ask_cost_one_question(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of its own: what runs beside the requests of another may ask, too.
    app = make_app(tmp_path, DATABASE_URL=database_url, REDIS_URL="")
    (tmp_path / "spool").mkdir()
    asked = []

    def note(self: HealthService) -> None:
        time.sleep(0.1)
        asked.append(self)

    monkeypatch.setattr(HealthService, "_ask_database", note)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: app.test_client().get("/health/ready"), range(100)))
    assert {answer.status_code for answer in answers} == {200}
    own = app.extensions["signpost.services"][HealthService]
    assert asked.count(own) == 1
    time.sleep(1.1)
    app.test_client().get("/health/ready")
    assert asked.count(own) == 2


def test_docs_load_only_what_is_served_here(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/docs").text
    assert re.findall(r"(?:src|href)=.(?!/[a-z])", page) == []
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "docs.js"):
        assert f"/docs/assets/{name}" in page
        with client.get(f"/docs/assets/{name}") as answer:
            assert answer.status_code == 200
    assert client.get("/docs/assets/nothing.js").status_code == 404


def test_description_is_openapi_3_1_and_cached_by_its_tag(app: Flask) -> None:
    client = app.test_client()
    first = client.get("/api/v1/openapi.json")
    assert (first.json or {})["openapi"].startswith("3.1")
    again = client.get("/api/v1/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
