"""Every route's answers, good and bad, say what a browser may do with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from api.app import create_app
from config.settings import Settings
from tests.caller import Caller
from tests.redirects.visitor import BROWSER

NOBODY: dict[str, str] = {}
# Answers that lead on, and are not shown.
LEADING = (301, 302, 303, 307, 308)
PAGE = {
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
DATA = {
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@pytest.fixture(scope="module")
def secure_app(environ: dict[str, str]) -> Iterator[Flask]:
    """The application as it is behind a proxy that speaks https."""
    app = create_app(Settings.load(environ | {"BASE_URL": "https://sign.test"}))
    app.extensions["signpost"].start_worker()
    yield app
    app.extensions["signpost"].stop_worker()


def answers_of(
    app: Flask, caller: Caller, rule: Rule, ids: dict[str, str]
) -> Iterator[TestResponse]:
    """What a route says to nobody, to a caller, and to a browser; with and without a body."""
    key = {"Authorization": f"Bearer {caller.key}"}
    for path in paths_of(rule, ids):
        for method in [*sorted((rule.methods or set()) - {"DELETE"}), "TRACE"]:
            for headers in (NOBODY, key, {"Accept": BROWSER}, key | {"Accept": BROWSER}):
                yield app.test_client().open(path, method=method, headers=headers)


def paths_of(rule: Rule, ids: dict[str, str]) -> list[str]:
    """Addresses of something that is there, and of something that is not."""
    found = []
    for value in (*ids.values(), "no-such-thing", "1"):
        path = rule.rule
        for argument in rule.arguments:
            for kind in ("id:", "slug:", ""):
                path = path.replace(f"<{kind}{argument}>", value)
        assert "<" not in path, f"{rule} has an argument that this test does not know"
        if path not in found:
            found.append(path)
    return found


def test_each_answer_of_each_route_says_it(secure_app: Flask, caller: Caller) -> None:
    link = caller.create_link()
    secret = caller.create_link(password="open sesame")
    gone = caller.create_link(expires_at="2026-01-02T00:00:00Z")
    ids = {
        "link_id": link["id"],
        "slug": link["slug"],
        "password": secret["slug"],
        "expired": gone["slug"],
        "asset": "docs.js",
    }
    seen = set()
    for rule in secure_app.url_map.iter_rules():
        for answer in answers_of(secure_app, caller, rule, ids):
            check(answer, f"{answer.request.method} {answer.request.path} {answer.status}")
            kind = answer.headers.get("Content-Type", "").partition(";")[0]
            seen.add((answer.status_code, kind))
            answer.close()
    # It has met all kinds, and so proves something about them.
    assert seen >= {
        (200, "text/html"), (200, "application/json"), (302, ""), (308, "text/html"),
        (403, "application/problem+json"), (404, "text/html"), (410, "text/html"),
        (401, "application/problem+json"), (404, "application/problem+json"),
        (405, "application/problem+json"), (415, "application/problem+json"),
    }  # fmt: skip


def check(answer: TestResponse, what: str, *, leads_away: bool = False) -> None:
    headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff", what
    assert headers["Strict-Transport-Security"] == "max-age=31536000", what
    names = [name for name in headers if name != "Set-Cookie"]
    assert len(set(names)) == len(names), what
    assert "Server" not in headers and "X-Powered-By" not in headers, what
    assert headers["X-Request-ID"], what
    assert headers["Cache-Control"], what
    if answer.mimetype == "text/html":
        expected = PAGE
        policy = policy_of(answer)
        assert policy["base-uri"] == "'none'", what
        assert "'unsafe-inline'" not in policy.get("script-src", ""), what
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin", what
        assert "geolocation=()" in headers["Permissions-Policy"], what
    elif answer.status_code in LEADING:
        # A short link may be an image's address, and its target counts where visitors come from.
        if leads_away:
            assert not set(headers.keys()) & {*PAGE, *DATA, "Content-Security-Policy"}, what
        return
    else:
        expected = DATA
        policy = policy_of(answer)
        assert set(policy) - {"style-src"} == {"default-src", "frame-ancestors"}, what
    assert {name: headers[name] for name in expected} == expected, what
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'", what


def policy_of(answer: TestResponse) -> dict[str, str]:
    parts = answer.headers["Content-Security-Policy"].split(";")
    return dict(part.strip().partition(" ")[::2] for part in parts)


def test_failure_of_ours_says_it_too(
    secure_app: Flask, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setitem(secure_app.view_functions, "links.list_links", fail)
    answer = secure_app.test_client().get("/api/v1/links")
    assert answer.status_code == 500
    check(answer, "500")


@pytest.mark.parametrize("host", ["sign.test:x", "a b", "[", "x" * 300, "sign.test/evil", "é"])
def test_unreadable_host_gets_them_too(secure_app: Flask, host: str) -> None:
    answer = secure_app.test_client().get("/docs", environ_overrides={"HTTP_HOST": host})
    check(answer, f"{host}: {answer.status}")
