"""Which paths are slugs, and what no path can do."""

from __future__ import annotations

import uuid
from urllib.parse import quote

import pytest

from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.visitor import Visitor


def unique(text: str) -> str:
    return f"{text}{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize("slug", ["straße", "日本語", "ไทย", "हिन्दी", "русский", "a.b-c_d"])
def test_slug_of_any_script_is_found_percent_encoded(
    caller: Caller, visitor: Visitor, slug: str
) -> None:
    link = caller.create_link(slug=unique(slug))

    assert visitor.open("/" + quote(link["slug"])).status_code == 302


@pytest.mark.parametrize(
    "sent", ["e\N{COMBINING ACUTE ACCENT}", "\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
def test_composed_and_decomposed_letters_are_one_slug(
    caller: Caller, visitor: Visitor, sent: str
) -> None:
    slug = unique("caf")
    caller.create_link(slug=f"\N{LATIN SMALL LETTER E WITH ACUTE}{slug}")

    assert visitor.open("/" + quote(sent + slug)).status_code == 302


def test_case_of_a_slug_matters(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(slug=unique("Case"))

    assert visitor.open(f"/{link['slug'].lower()}").status_code == 404


def test_slug_of_several_segments_is_found(make_app: AppMaker, caller: Caller) -> None:
    app = make_app(MULTI_SEGMENT_SLUGS="true")
    slug = unique("guide/chapter.2/")
    link = Caller(app, caller.identity, caller.workspace_id, caller.key).create_link(slug=slug)
    visitor = Visitor(app)

    assert visitor.open(f"/{link['slug']}").status_code == 302
    assert visitor.open("/" + quote(slug, safe="")).status_code == 302
    assert visitor.open(f"/{slug}/more").status_code == 404
    assert visitor.open(f"/{slug.replace('/', '//')}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/api", "/api/v2/links", "/API/v1", "/docs/nothing", "/health", "/health/x", "/metrics/x",
        "/oauth/nothing", "/.well-known/security.txt", "/sitemap.xml", "/static/x.js", "/admin",
        "/%61pi", "/doc%C5%BF",
    ],
)  # fmt: skip
def test_reserved_path_is_never_a_slug(visitor: Visitor, path: str) -> None:
    response = visitor.open(path)

    assert response.status_code == 404
    assert response.get_json()["type"] == "urn:signpost:problem:not-found"


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "//evil.example/%2e%2e",
        "///evil.example",
        "/%2F/evil.example",
        "/%2Fevil.example",
        "/\\evil.example",
        "/%5Cevil.example",
        "/%5C%5Cevil.example",
        "/https://evil.example",
        "/.//evil.example",
        "/docs//evil.example",
        "/@evil.example",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_path_that_looks_like_a_host_redirects_nowhere(
    visitor: Visitor, path: str, method: str
) -> None:
    for somebody in (visitor, visitor.by_browser()):
        response = somebody.open(path, method=method)

        assert response.status_code in (404, 405)
        assert "Location" not in response.headers


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/docs/assets/../../../../setup.cfg",
        "/docs/assets/..%2f..%2froutes.py",
        "/docs/assets/%2e%2e%5croutes.py",
        "/docs/assets//etc/passwd",
        "/%c0%ae%c0%ae/etc/passwd",
    ],
)
def test_path_never_reaches_the_file_system(visitor: Visitor, path: str) -> None:
    response = visitor.open(path)

    assert response.status_code == 404
    assert "root:" not in response.text
    assert "blueprint" not in response.text


@pytest.mark.parametrize(
    "path",
    [
        "/a%0d%0aSet-Cookie:%20a=b",
        "/%0a",
        "/%00",
        "/a%00b",
        "/%7f%1b%5b31m",
        "/%ff%fe",
        "/%ed%a0%80",
        "/%e2%80%ae",
        "/%E2%80%A8x",
        "/" + "x" * 5000,
        "/" + "%F0%9F%94%91" * 500,
        "/%",
        "/%zz",
    ],
)
def test_odd_bytes_in_the_path_answer_404(visitor: Visitor, path: str) -> None:
    for somebody in (visitor, visitor.by_browser()):
        response = somebody.open(path)

        assert response.status_code == 404
        assert "Set-Cookie" not in response.headers


def test_what_was_asked_for_is_not_repeated_on_the_page(visitor: Visitor) -> None:
    response = visitor.by_browser().open("/%3Cscript%3Ealert(1)%3C%2Fscript%3E?<script>")

    assert response.status_code == 404
    assert "alert" not in response.text
    assert "<script" not in response.text


def test_trailing_slash_is_another_slug(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link()

    assert visitor.open(f"/{link['slug']}/").status_code == 404
