"""Each request reaches the service that it is for, and what it tells of its visitor is true."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from typing import Any

import pytest

from api.app import create_app
from api.core.requests import REQUEST_ID
from api.core.slugs import RESERVED
from api.operations.gateway.configuration import API_SEGMENTS, API_STREAMS
from config.settings import Settings
from tests.gateway.client import ApiClient, Connection, ask, ask_plainly
from tests.gateway.system import HOST, System
from tests.running import BROWSER, ROOT

# What is as long as there are links, clicks or time.
STREAMED = {
    "application/gzip",
    "application/octet-stream",
    "application/vnd.apache.parquet",
    "application/x-ndjson",
    "application/x-tar",
    "application/zip",
    "text/csv",
    "text/event-stream",
}


def first_segments(environ: dict[str, str], service: str) -> set[str]:
    app = create_app(Settings.load(environ | {"SIGNPOST_SERVICES": service}))
    return {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()}


def test_gateway_knows_which_paths_are_the_apis(environ: dict[str, str]) -> None:
    everywhere = {"health", "metrics"}
    api, redirect = (first_segments(environ, service) for service in ("api", "redirect"))
    assert api - {"metrics"} <= set(API_SEGMENTS)
    assert not (redirect - everywhere) & set(API_SEGMENTS)
    assert set(API_SEGMENTS) <= RESERVED  # nobody's slug is taken from the redirects


def test_gateway_knows_which_answers_and_bodies_go_on() -> None:
    described = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    streams = {
        re.sub(r"{.*?}", "1", path)
        for path, operations in described["paths"].items()
        for operation in operations.values()
        if isinstance(operation, dict) and STREAMED & content_types(operation)
    }
    assert "/api/v1/live" in streams
    assert [path for path in streams if not re.search(API_STREAMS, path)] == []


def content_types(operation: dict[str, Any]) -> set[str]:
    """Of what is sent and of what is answered."""
    parts = [operation.get("requestBody", {}), *operation.get("responses", {}).values()]
    return {kind for part in parts for kind in part.get("content", {})}


def test_each_path_reaches_its_service(system: System, api: ApiClient) -> None:
    slug = api.create_link()["slug"]
    followed = ask(system.gateway, "GET", f"/{slug}")
    assert (followed.status, followed.headers["Location"]) == (302, "https://example.com/")
    for path in ("/api/v1/openapi.json", "/docs", "/.well-known/jwks.json", "/health/ready"):
        assert ask(system.gateway, "GET", path).status == 200, path
    assert ask(system.gateway, "GET", "/oauth/authorize").status == 400
    assert ask(system.gateway, "GET", "/robots.txt").status == 200
    ask(system.gateway, "GET", "/apis").problem(404, "link-unknown")  # a slug like another
    ask(system.gateway, "GET", "/api/v1/nowhere").problem(404, "not-found")
    assert ask(system.gateway, "GET", "/health/gateway").json == {"status": "up"}
    assert ask_plainly(system.gateway, "GET", "/health/gateway", "10.1.1.1").status == 200


@pytest.mark.parametrize("path", ["/metrics", "//metrics", "/%6detrics", "/x/../metrics"])
def test_metrics_are_not_public(system: System, path: str) -> None:
    ask(system.gateway, "GET", path).problem(404, "not-found")


def test_visitor_cannot_forge_who_they_are(system: System, api: ApiClient) -> None:
    slug = api.create_link()["slug"]
    agent = f"{BROWSER} {slug}"
    forged = {
        "User-Agent": agent,
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "http",
        "X-Real-IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9",
    }
    answer = ask(system.gateway, "GET", f"/{slug}", headers=forged)
    assert answer.status == 302
    assert answer.headers["Strict-Transport-Security"]  # it came over https all the same
    (click,) = clicks_by(system, agent)
    assert "127.0.0.1" in click
    assert "203.0.113.9" not in click


def clicks_by(system: System, agent: str) -> list[list[object]]:
    """The clicks in the spools of all servers."""
    lines: list[str] = []
    for server in system.redirects:
        for path in (server.home / "spool").iterdir():
            lines += [line for line in path.read_text().splitlines() if agent in line]
    return [json.loads(line) for line in lines]


def test_names_of_requests_and_traces_are_passed_on(system: System) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    given = {"X-Request-ID": "a-name-of-ours.1", "traceparent": trace}
    for path in ("/api/v1/openapi.json", "/no-such-slug", "/metrics"):
        assert ask(system.gateway, "GET", path, headers=given).headers.get_all("X-Request-ID") == [
            "a-name-of-ours.1"
        ]
        unusable = ask(system.gateway, "GET", path, headers={"X-Request-ID": 'x"y'})
        assert REQUEST_ID.fullmatch(unusable.headers["X-Request-ID"])


def test_known_links_take_the_fast_path(system: System, api: ApiClient) -> None:
    """Only there are ids counted up: their first half is the worker's, and the others random."""
    slug = api.create_link()["slug"]
    connection = Connection(system.gateway)
    asked = {"TE": "trailers", "Keep-Alive": "timeout=5", "Connection": "keep-alive, TE"}
    ids = [
        connection.ask("GET", f"/{slug}", headers=asked).headers["X-Request-ID"][:16]
        for _ in range(40)
    ]
    connection.close()
    # The first of each worker looks the link up.
    assert len(set(ids[4:])) <= len(system.redirects)
    assert Counter(ids).most_common(1)[0][1] >= 10


def test_streams_are_not_held_back(system: System, api: ApiClient) -> None:
    """Live clicks, which have only heartbeats here: each is there when it is sent."""
    link = api.create_link()
    connection = Connection(system.gateway)
    headers = {**api.headers, "Host": HOST}
    connection.request("GET", f"/api/v1/links/{link['id']}/live", headers=headers)
    response = connection.getresponse()
    assert response.headers["Content-Type"].startswith("text/event-stream")
    times = []
    while len(times) < 3:
        if response.readline().startswith(b": heartbeat"):
            times.append(time.monotonic())
    connection.close()
    assert times[-1] - times[0] > 0.5


def test_only_what_is_public_is_kept(system: System, api: ApiClient) -> None:
    """The API's public keys are served while none of its servers is there; nothing else is."""
    assert ask(system.gateway, "GET", "/.well-known/jwks.json").status == 200
    api.ask("GET", "/links")
    kept = [path for path in (system.gateway.home / "cache").rglob("*") if path.is_file()]
    text = b"".join(path.read_bytes() for path in kept)
    assert b"KEY: go.test/.well-known/jwks.json" in text
    assert b"/api/v1/" not in text
    slug = api.create_link()["slug"]
    before = [ask(system.gateway, "GET", f"/{slug}").headers["X-Request-ID"] for _ in range(3)]
    assert len(set(before)) == 3
