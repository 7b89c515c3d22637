"""Which other origins' pages may call the API from a browser."""

from __future__ import annotations

import pytest

from config.settings import Settings, SettingsError
from tests.caller import Caller
from tests.redirects.visitor import Visitor
from tests.transport.conftest import SiteMaker

APP, OTHER = "https://app.example", "https://other.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "PATCH",
    "Access-Control-Request-Headers": "authorization,content-type,if-match",
}


@pytest.fixture
def shared(site: SiteMaker) -> Visitor:
    return site(CORS_ORIGINS=f"{APP},http://localhost:3000")


def cors_headers(answer: object) -> set[str]:
    return {name for name in dict(answer.headers) if name.startswith("Access-Control-")}  # type: ignore[attr-defined]


@pytest.mark.parametrize("origin", [APP, "http://localhost:3000"])
def test_page_of_a_listed_origin_may_read_answers(
    shared: Visitor, caller: Caller, origin: str
) -> None:
    headers = {"Origin": origin, "Authorization": f"Bearer {caller.key}"}

    answer = shared.open("/api/v1/links", headers=headers)

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    shown = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    assert shown >= {
        *("ETag", "Link", "Location", "RateLimit", "RateLimit-Policy"),
        *("Retry-After", "X-Request-ID"),
    }
    assert "Origin" in answer.vary
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/api/v1/links", "/api/v1/nothing-here"])
def test_page_may_read_why_it_failed(shared: Visitor, path: str) -> None:
    answer = shared.open(path, headers={"Origin": APP})

    assert answer.status_code in (401, 404)
    assert answer.headers["Access-Control-Allow-Origin"] == APP


def test_preflight_tells_what_may_be_sent(shared: Visitor) -> None:
    answer = shared.open("/api/v1/links/1", "OPTIONS", headers=PREFLIGHT | {"Origin": APP})

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    methods = set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    assert methods == {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH"}
    sent = set(answer.headers["Access-Control-Allow-Headers"].lower().split(", "))
    assert sent >= {"authorization", "content-type", "if-match", "idempotency-key", "x-api-key"}
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert "Origin" in answer.vary


@pytest.mark.parametrize(
    "origin",
    [
        OTHER,
        "null",
        "",
        f"{APP}.evil.example",
        f"{APP}:444",
        "http://app.example",
        "https://APP.example",
        f"{APP}/",
        f"{APP} {OTHER}",
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_page_of_another_origin_may_read_nothing(shared: Visitor, origin: str, method: str) -> None:
    answer = shared.open("/api/v1/links", method, headers=PREFLIGHT | {"Origin": origin})

    assert cors_headers(answer) == set()
    # All the same: a cache must not give it what a listed one may read.
    assert "Origin" in answer.vary


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke"])
def test_page_may_fetch_and_revoke_tokens(shared: Visitor, path: str) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Origin": APP}
    preflight = shared.open(path, "OPTIONS", headers=asked)
    answer = shared.open(path, "POST", headers={"Origin": APP}, data={})

    assert preflight.status_code == 200
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert answer.status_code in (400, 401)
    for each in (preflight, answer):
        assert each.headers["Access-Control-Allow-Origin"] == APP


@pytest.mark.parametrize("name", ["oauth-authorization-server", "jwks.json"])
def test_page_may_read_how_tokens_are_made(shared: Visitor, name: str) -> None:
    answer = shared.open(f"/.well-known/{name}", headers={"Origin": APP})

    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, APP)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/docs", "/health/live", "/robots.txt", "/nothing-here"),
        *("/oauth/authorize", "/oauth/sign-in", "/oauth/introspect"),
    ],
)
def test_only_the_api_is_shared(shared: Visitor, path: str) -> None:
    answer = shared.open(path, headers={"Origin": APP})

    assert cors_headers(answer) == set()


def test_redirects_are_not_shared(shared: Visitor, caller: Caller) -> None:
    link = caller.create_link()

    for method in ("GET", "HEAD", "OPTIONS"):
        answer = shared.follow(link, method=method, headers=PREFLIGHT | {"Origin": APP})
        assert cors_headers(answer) == set()
        assert "Origin" not in answer.vary


def test_nothing_is_shared_where_no_origin_is_listed(site: SiteMaker) -> None:
    visitor = site()

    for method in ("GET", "OPTIONS"):
        answer = visitor.open("/api/v1/links", method, headers=PREFLIGHT | {"Origin": APP})
        assert cors_headers(answer) == set()
        assert "Origin" not in answer.vary


def test_any_origin_gets_answers_but_lends_no_credential(site: SiteMaker) -> None:
    visitor = site(CORS_ORIGINS="*")

    for origin in (OTHER, "null"):
        answer = visitor.open("/api/v1/links", headers={"Origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "value",
    [
        "null",
        "app.example",
        f"{APP}/path",
        f"{APP},*",
        "https://*.example",
        "ftp://app.example",
        "https://user@app.example",
    ],
)
def test_what_is_no_origin_stops_the_start(value: str) -> None:
    with pytest.raises(SettingsError, match="CORS_ORIGINS"):
        Settings.load({"CORS_ORIGINS": value})


def test_origins_are_spelled_as_browsers_do() -> None:
    settings = Settings.load({"CORS_ORIGINS": "https://APP.example:443/, http://bücher.example"})

    assert settings.cors_origins == (APP, "http://xn--bcher-kva.example")
