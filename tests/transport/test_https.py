"""Who is told to stay with https, and who is sent there."""

from __future__ import annotations

from typing import Any

import pytest

from config.settings import Settings, SettingsError
from tests.caller import Caller
from tests.redirects.visitor import Visitor
from tests.transport.conftest import PROXY, STRANGER, SiteMaker

HSTS = "Strict-Transport-Security"
BEHIND = {"TRUSTED_PROXIES": "10.0.0.0/8"}
PUBLIC = {"BASE_URL": "https://sign.test"}
SECURE = {"X-Forwarded-Proto": "https"}
PLAIN = {"X-Forwarded-Proto": "http"}


@pytest.mark.parametrize(
    ("given", "peer", "headers", "promised"),
    [
        ({}, STRANGER, {}, False),
        ({}, STRANGER, SECURE, False),
        (BEHIND, PROXY, SECURE, True),
        (BEHIND, PROXY, {"X-Forwarded-Proto": "HTTPS"}, True),
        (BEHIND, PROXY, PLAIN, False),
        (BEHIND, PROXY, {}, False),
        (BEHIND, PROXY, {"X-Forwarded-Proto": "http,https"}, False),
        (BEHIND, STRANGER, SECURE, False),
        (PUBLIC, STRANGER, {}, True),
        (PUBLIC, STRANGER, PLAIN, True),  # a stranger's word: the proxy in front is not named
        (PUBLIC | BEHIND, PROXY, {}, True),
        (PUBLIC | BEHIND, PROXY, PLAIN, False),
        (PUBLIC | BEHIND, STRANGER, {}, False),
        (PUBLIC | BEHIND, STRANGER, SECURE, False),
        (PUBLIC | {"HSTS_SECONDS": "0"}, STRANGER, {}, False),
    ],
)
def test_https_is_promised_where_it_is_spoken(
    site: SiteMaker,
    caller: Caller,
    given: dict[str, str],
    peer: str,
    headers: dict[str, str],
    promised: bool,
) -> None:
    link = caller.create_link()
    visitor = site(**given).from_address(peer)

    answers = [
        visitor.follow(link, headers=headers),
        visitor.open("/nothing-here", headers=headers),
        visitor.by_browser().open("/", headers=headers),
        visitor.open("/api/v1/links", headers=headers),
        visitor.open("/docs", headers=headers),
        visitor.open("/health/live", headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [302, 404, 200, 401, 200, 200]
    expected = "max-age=31536000" if promised else None
    assert {answer.headers.get(HSTS) for answer in answers} == {expected}


@pytest.mark.parametrize(
    ("peer", "headers", "promised"),
    [(STRANGER, {}, True), (STRANGER, PLAIN, True), (PROXY, SECURE, True), (PROXY, PLAIN, False)],
)
def test_own_certificate_speaks_for_itself_unless_a_proxy_knows_better(
    site: SiteMaker, peer: str, headers: dict[str, str], promised: bool
) -> None:
    client = site(**BEHIND).app.test_client()

    answer = client.get(
        "/health/live",
        base_url="https://sign.test",
        headers=headers,
        environ_overrides={"REMOTE_ADDR": peer},
    )

    assert (HSTS in answer.headers) == promised


def test_promise_is_as_long_and_wide_as_settings_say(site: SiteMaker) -> None:
    settings = PUBLIC | {"HSTS_SECONDS": "300", "HSTS_INCLUDE_SUBDOMAINS": "true"}

    answer = site(**settings).open("/health/live")

    assert answer.headers[HSTS] == "max-age=300; includeSubDomains"


def forced(site: SiteMaker, **settings: str) -> Visitor:
    return site(FORCE_HTTPS="true", **BEHIND, **settings).from_address(PROXY)


@pytest.mark.parametrize(
    ("host", "target", "location"),
    [
        ("sign.test", "/abc", "https://sign.test/abc"),
        ("sign.test", "/a%20b?q=%2F&x=a b", "https://sign.test/a%20b?q=%2F&x=a%20b"),
        ("sign.test:8080", "/", "https://sign.test/"),
        ("[2001:db8::1]:80", "/", "https://[2001:db8::1]/"),
        ("sign.test", "/api/v1/links?limit=5", "https://sign.test/api/v1/links?limit=5"),
        ("sign.test", "//evil.example/x", "https://sign.test//evil.example/x"),
        ("sign.test", "http://sign.test/a%2Fb?c", "https://sign.test/a%2Fb?c"),
        ("sign.test", '/a"<b>', "https://sign.test/a%22%3Cb%3E"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_visitors_over_http_are_sent_on_to_https(
    site: SiteMaker, host: str, target: str, location: str, method: str
) -> None:
    answer = forced(site).at(host).open(target, method, headers=PLAIN)

    assert (answer.status_code, answer.headers["Location"]) == (308, location)
    assert HSTS not in answer.headers


def test_visitors_are_sent_to_the_port_of_the_public_address(site: SiteMaker) -> None:
    answer = forced(site, BASE_URL="https://sign.test:8443").open("/abc", headers=PLAIN)

    assert answer.headers["Location"] == "https://sign.test:8443/abc"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_carries_something_over_http_is_refused(
    site: SiteMaker, caller: Caller, method: str
) -> None:
    before = len((caller.get("/links").json or {})["data"])

    answer = forced(site).open(
        "/api/v1/links",
        method,
        headers=PLAIN | {"Authorization": f"Bearer {caller.key}"},
        json={"url": "https://example.com/"},
    )

    assert (answer.status_code, answer.content_type) == (403, "application/problem+json")
    assert answer.get_json()["type"] == "urn:signpost:problem:https-required"
    assert len((caller.get("/links").json or {})["data"]) == before


def test_health_and_metrics_are_answered_over_http(site: SiteMaker) -> None:
    visitor = forced(site, METRICS_TOKEN="a token of the tests")

    statuses = {
        path: visitor.open(path, headers=PLAIN).status_code
        for path in ("/health/live", "/health/ready", "/health/startup", "/metrics")
    }

    assert statuses == {
        "/health/live": 200,
        "/health/ready": 200,
        "/health/startup": 200,
        "/metrics": 401,
    }


@pytest.mark.parametrize(
    ("peer", "headers"), [(PROXY, SECURE), (PROXY, {}), (STRANGER, PLAIN), (STRANGER, {})]
)
def test_nobody_else_is_sent_on_to_https(
    site: SiteMaker, caller: Caller, peer: str, headers: dict[str, str]
) -> None:
    link = caller.create_link("https://example.com/here")

    answer = forced(site).from_address(peer).follow(link, headers=headers)

    assert (answer.status_code, answer.headers["Location"]) == (302, "https://example.com/here")


def test_https_cannot_be_forced_where_nobody_can_tell() -> None:
    with pytest.raises(SettingsError, match="FORCE_HTTPS"):
        Settings.load({"FORCE_HTTPS": "true"})


@pytest.mark.parametrize(
    "wrong", [{"HSTS_SECONDS": "-1"}, {"HSTS_SECONDS": "a"}, {"HSTS_SECONDS": "999999999"}]
)
def test_wrong_promise_stops_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="HSTS_SECONDS"):
        Settings.load(wrong)
