"""Imports through a real web server and a real worker: connections are cut, and workers killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from api.core.database.routing import Database
from tests.caller import Caller
from tests.redirects.wire.server import WebServer
from tests.running import ROOT, wait_until
from tests.transfers.imports.importer import NDJSON, ndjson

ROWS = 3_500


@pytest.fixture(scope="module")
def settings_of(environ: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if name != "SIGNPOST_HOME"}
    return kept | {"JOBS_QUEUE": f"test.jobs.{uuid.uuid4().hex[:12]}"}


@pytest.fixture(scope="module")
def web(
    settings_of: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebServer]:
    server = WebServer(tmp_path_factory.mktemp("web") / "home", settings_of, fast=True)
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()
    assert server.errors == []


@contextmanager
def working(environ: dict[str, str], home: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker, which is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "scripts/run-jobs"],
        env={**os.environ, **environ, "SIGNPOST_HOME": str(home)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        output, _ = process.communicate()
        assert "Traceback" not in output, output


def headers_of(caller: Caller, key: str, **more: str) -> dict[str, str]:
    named = {"Authorization": f"Bearer {caller.key}", "Content-Type": NDJSON}
    return named | {"Idempotency-Key": key, **more}


def cut_in_the_middle(web: WebServer, headers: dict[str, str], body: bytes) -> None:
    """Send half of a body, and go away without a word."""
    with socket.create_connection(("127.0.0.1", web.port)) as connection:
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = ["POST /api/v1/imports HTTP/1.1", "Host: sign.test", *lines]
        head.append(f"Content-Length: {len(body)}")
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        connection.sendall(body[: len(body) // 2])


def cut_between_chunks(web: WebServer, headers: dict[str, str], body: bytes) -> bytes:
    """The same of a body whose length nobody has said, and half of a chunk more; the answer."""
    half = len(body) // 2
    with socket.create_connection(("127.0.0.1", web.port)) as connection:
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = ["POST /api/v1/imports HTTP/1.1", "Host: sign.test", *lines]
        head.append("Transfer-Encoding: chunked")
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        connection.sendall(b"%x\r\n%b\r\n" % (half, body[:half]))
        connection.sendall(b"%x\r\n%b" % (half, body[half : half + 50]))
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def call(web: WebServer, caller: Caller, path: str) -> Any:
    return web.call(caller.key, "GET", path)[1]


def begun(web: WebServer, caller: Caller, key: str) -> dict[str, Any]:
    (found,) = call(web, caller, f"/imports?idempotency_key={key}")["data"] or [{"rows": 0}]
    return dict(found)


def events_of(web: WebServer, caller: Caller, identifier: str) -> list[tuple[str, dict[str, Any]]]:
    """All events of an import, to the last."""
    connection = HTTPConnection("127.0.0.1", web.port, timeout=60)
    named = {"Authorization": f"Bearer {caller.key}", "Host": "sign.test"}
    connection.request("GET", f"/api/v1/imports/{identifier}/events", headers=named)
    answer = connection.getresponse()
    assert answer.status == 200
    found = []
    for event in answer.read().decode().split("\n\n"):
        lines = event.splitlines()
        if lines and lines[0].startswith("event: "):
            found.append((lines[0][7:], json.loads(lines[1][6:])))
    connection.close()
    return found


def test_cut_connection_and_killed_worker_lose_and_double_nothing(
    web: WebServer, caller: Caller, settings_of: dict[str, str], tmp_path: Path, db: Database
) -> None:
    rows = [{"url": f"https://example.com/{number}"} for number in range(ROWS)]
    body = ndjson(rows)
    key = uuid.uuid4().hex
    cut_in_the_middle(web, headers_of(caller, key), body)
    wait_until(lambda: ROWS // 3 < begun(web, caller, key)["rows"] < ROWS)
    found = begun(web, caller, key)
    assert found["state"] == "receiving"

    # Once more cut, from the beginning: what is here is gone past.
    cut_in_the_middle(web, headers_of(caller, key), body)
    status, answer = 409, {}
    deadline = time.monotonic() + 20
    while status == 409 and time.monotonic() < deadline:
        # What came before the cut may still be read.
        came = begun(web, caller, key)["rows"]
        rest = ndjson(rows[came:])
        status, answer = send(web, headers_of(caller, key), rest, f"?from_row={came}")
    assert (status, answer["rows"], answer["state"]) == (202, ROWS, "queued")

    with working(settings_of, tmp_path / "one") as worker:
        wait_until(lambda: begun(web, caller, key)["created"])
        worker.kill()
        worker.wait()
    killed = begun(web, caller, key)
    assert killed["state"] == "running" and 0 < killed["progress"] < 1
    with db.write_directory() as session:  # as if its time were over
        session.connection().exec_driver_sql(
            "UPDATE imports SET worker_until = now(), offered_at = now() - interval '1 hour'"
            " WHERE id = %s",
            (answer["id"],),
        )
    with working(settings_of, tmp_path / "other"):
        told = events_of(web, caller, answer["id"])
    assert [name for name, _ in told[:-1]] == ["progress"] * (len(told) - 1)
    assert told[-1][0] == "finished"
    assert told[-1][1] == begun(web, caller, key)
    assert told[-1][1]["created"] == ROWS
    with db.read(0) as session:
        links, urls = (
            session.connection()
            .exec_driver_sql(
                "SELECT count(*), count(DISTINCT url) FROM links WHERE workspace_id = %s",
                (caller.workspace_id,),
            )
            .one()
        )
    assert (links, urls) == (ROWS, ROWS)


def send(
    web: WebServer, headers: dict[str, str], body: bytes, query: str = ""
) -> tuple[int, dict[str, Any]]:
    """Send a body in chunks, and read the answer."""
    connection = HTTPConnection("127.0.0.1", web.port, timeout=60)
    pieces = (body[at : at + 10_000] for at in range(0, len(body), 10_000))
    connection.request("POST", f"/api/v1/imports{query}", pieces, headers | {"Host": "sign.test"})
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    return answer.status, told


def test_other_requests_are_answered_beside_a_long_body(web: WebServer, caller: Caller) -> None:
    """The body is read in one process with them."""
    with socket.create_connection(("127.0.0.1", web.port)) as connection:
        head = [f"{name}: {value}" for name, value in headers_of(caller, "k").items()]
        head = ["POST /api/v1/imports HTTP/1.1", "Host: sign.test", *head]
        connection.sendall("\r\n".join([*head, "Transfer-Encoding: chunked", "", ""]).encode())
        piece = ndjson({"url": f"https://example.com/{number}"} for number in range(2_000))
        connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        wait_until(lambda: begun(web, caller, "k")["rows"] >= 1_000)
        assert begun(web, caller, "k")["state"] == "receiving"
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(1_000).startswith(b"HTTP/1.1 202")


def test_body_of_chunks_that_is_cut_is_no_error_of_ours(web: WebServer, caller: Caller) -> None:
    key = uuid.uuid4().hex
    body = ndjson([{"url": f"https://example.com/{number}"} for number in range(6_000)])
    answer = cut_between_chunks(web, headers_of(caller, key), body)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"body-incomplete" in answer
    found = begun(web, caller, key)
    assert found["state"] == "receiving"
    assert 0 < found["rows"] < 6_000
    assert found["problem"]["type"].endswith("body-incomplete")
