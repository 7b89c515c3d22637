"""What people see, and what crawlers ask every host for."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.visitor import BROWSER, Visitor

HTML = "text/html; charset=utf-8"
PROBLEM = "application/problem+json"


class References(HTMLParser):
    """The addresses that a page loads or leads to, and its inline scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [
            value or ""
            for name, value in attrs
            if name in ("src", "href", "action", "data", "srcset", "poster", "xlink:href")
        ]
        self.inline += [name for name, _ in attrs if name == "style" or name.startswith("on")]
        if tag == "script" and "src" not in given:
            self.inline.append(tag)


def policy(header: str) -> dict[str, list[str]]:
    parts = [part.split() for part in header.split(";") if part.strip()]
    return {name: sources for name, *sources in parts}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (BROWSER, HTML),
        ("text/html", HTML),
        ("application/json;q=0.5,text/html", HTML),
        (None, PROBLEM),
        ("*/*", PROBLEM),
        ("application/json", PROBLEM),
        ("application/problem+json", PROBLEM),
        ("text/html;q=0.5,application/json", PROBLEM),
        ("image/png", PROBLEM),
        ("nonsense", PROBLEM),
    ],
)
def test_unknown_slug_is_told_as_the_client_prefers(
    visitor: Visitor, accept: str | None, content_type: str
) -> None:
    headers = {"Accept": accept} if accept else {}

    response = visitor.open("/there-is-no-such-link", headers=headers)

    assert response.status_code == 404
    assert response.content_type == content_type
    assert response.headers["Vary"] == "Accept"
    assert "no-store" in response.headers["Cache-Control"]


def test_gone_link_has_a_page_and_a_problem(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(expires_at="2026-01-02T00:00:00Z")

    page, problem = visitor.by_browser().follow(link), visitor.follow(link)

    assert (page.status_code, page.content_type) == (410, HTML)
    assert (problem.status_code, problem.content_type) == (410, PROBLEM)
    assert "no longer available" in page.text
    assert link["url"] not in page.text + problem.text


def test_home_says_what_lives_here(visitor: Visitor) -> None:
    page, answer = visitor.by_browser().open("/"), visitor.open("/")

    assert (page.status_code, page.content_type) == (200, HTML)
    assert 'href="/docs"' in page.text
    assert answer.get_json() == {"name": "Signpost", "documentation": "/docs"}
    assert page.headers["Vary"] == answer.headers["Vary"] == "Accept"


def test_home_of_the_redirect_service_alone_leads_to_no_documentation(make_app: AppMaker) -> None:
    visitor = Visitor(make_app(SIGNPOST_SERVICES="redirect"))

    assert "/docs" not in visitor.by_browser().open("/").text
    assert visitor.open("/").get_json() == {"name": "Signpost"}
    assert visitor.open("/docs").status_code == 404
    assert visitor.open("/api/v1/links").status_code == 404
    assert visitor.open("/health/live").status_code == 200


def test_api_service_alone_follows_no_links(make_app: AppMaker, caller: Caller) -> None:
    visitor = Visitor(make_app(SIGNPOST_SERVICES="api"))

    assert visitor.follow(caller.create_link()).status_code == 404
    assert visitor.open("/docs").status_code == 200
    assert visitor.open("/health/live").status_code == 200


def test_robots_may_follow_links(visitor: Visitor) -> None:
    response = visitor.open("/robots.txt")

    assert response.status_code == 200
    assert response.content_type == "text/plain; charset=utf-8"
    assert "Disallow: /api/\n" in response.text
    assert "max-age" in response.headers["Cache-Control"]


def test_icon_is_an_image(visitor: Visitor) -> None:
    response = visitor.open("/favicon.ico")

    assert response.status_code == 200
    assert response.content_type == "image/svg+xml"
    assert ET.fromstring(response.data).tag.endswith("svg")
    assert "max-age" in response.headers["Cache-Control"]


@pytest.fixture
def pages(caller: Caller, visitor: Visitor) -> dict[str, tuple[str, str]]:
    """Every page for people: its HTML and its policy."""
    protected = caller.create_link(password="pw")
    gone = caller.create_link(expires_at="2026-01-02T00:00:00Z")
    browser = visitor.by_browser()
    responses = {
        "home": browser.open("/"),
        "unknown": browser.open("/there-is-no-such-link"),
        "gone": browser.follow(gone),
        "password": browser.follow(protected),
        "wrong password": browser.unlock(protected, "guess"),
        "documentation": browser.open("/docs"),
    }
    assert {response.content_type for response in responses.values()} == {HTML}
    return {
        name: (response.text, response.headers["Content-Security-Policy"])
        for name, response in responses.items()
    }


def test_pages_refer_only_to_own_addresses(
    pages: dict[str, tuple[str, str]], visitor: Visitor
) -> None:
    for name, (html, _) in pages.items():
        for address in References(html).addresses:
            assert re.match(r"/(?!/)", address), (name, address)
            assert visitor.open(address).status_code == 200, (name, address)


def test_policy_of_every_page_allows_only_what_it_needs(
    pages: dict[str, tuple[str, str]],
) -> None:
    for name, (html, header) in pages.items():
        allowed = policy(header)
        assert allowed["default-src"] == ["'none'"], name
        assert allowed["base-uri"] == ["'none'"], name
        assert allowed["frame-ancestors"] == ["'none'"], name
        scripts = ["'self'"] if name == "documentation" else ["'none'"]
        assert allowed.get("script-src", ["'none'"]) == scripts, name
        assert not References(html).inline, name
        assert "http" not in header and "*" not in header, name


def test_style_of_a_page_carries_its_nonce_which_is_new_each_time(visitor: Visitor) -> None:
    browser = visitor.by_browser()
    nonces = set()
    for _ in range(2):
        response = browser.open("/")
        (nonce,) = re.findall(r"'nonce-([^']+)'", response.headers["Content-Security-Policy"])
        assert f'<style nonce="{nonce}">' in response.text
        nonces.add(nonce)

    assert len(nonces) == 2


def test_documentation_assets_name_no_other_host(visitor: Visitor) -> None:
    script = visitor.open("/docs/assets/docs.js")

    assert script.content_type.startswith("text/javascript")
    assert "http" not in script.text
    assert 'url: "/api/v1/openapi.json"' in script.text
    assert "validatorUrl: null" in script.text  # else a badge is asked of another host


def test_every_answer_forbids_sniffing_and_names_its_request(visitor: Visitor) -> None:
    for path in ("/", "/nothing", "/docs", "/docs/assets/docs.js", "/robots.txt", "/health/live"):
        response = visitor.open(path, headers={"X-Request-ID": "request-0001"})

        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Request-ID"] == "request-0001"
        assert response.headers["Cache-Control"]


@pytest.mark.parametrize(
    "given", ["short", "x" * 129, "a b c d e f", "<script>alert", "ünïcödé-id"]
)
def test_request_id_that_could_harm_a_log_is_replaced(visitor: Visitor, given: str) -> None:
    response = visitor.open("/", headers={"X-Request-ID": given})

    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])
