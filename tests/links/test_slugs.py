"""Which slugs may be chosen."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from tests.answers import problem, wrong_fields
from tests.caller import Caller


@pytest.mark.parametrize(
    "start", ["a", "Ä", "日本", "हिन्दी", "عربي", "a.b", "a_b", "a-b", ".a", "-", "_", "1", "𝓐"]
)
def test_letters_digits_and_few_signs_are_allowed(caller: Caller, start: str) -> None:
    slug = start + uuid.uuid4().hex
    assert caller.create_link(slug=slug)["slug"] == slug


def test_short_url_is_percent_encoded(caller: Caller) -> None:
    end = uuid.uuid4().hex
    link = caller.create_link(slug=f"é{end}")
    assert link["short_url"] == f"http://sign.test/%C3%A9{end}"


def test_two_spellings_of_one_text_are_one_slug(caller: Caller, slug: str) -> None:
    assert caller.create_link(slug=f"e\u0301{slug}")["slug"] == f"é{slug}"
    again = caller.post("/links", {"url": "https://example.com/", "slug": f"é{slug}"})
    problem(again, 409, "slug-taken")


def test_case_makes_another_slug(caller: Caller, slug: str) -> None:
    caller.create_link(slug=slug)
    caller.create_link(slug=slug.upper())


@pytest.mark.parametrize(
    "slug",
    [
        *("api", "API", "Docs", "health", "oauth", "robots.txt", "Favicon.ICO", ".well-known"),
        *(".", "..", "..."),
        *("a b", "a%20b", "a?b", "a#b", "a+b", "a&b", "a:b", "a\\b", "a\nb", "a\tb", "a'b"),
        *("a\u200bb", "a\u202eb", "\ufeffa", "😀", "a\u2044b", "€"),
        *("a/b", "/a", "a/", "/", "x" * 129),
    ],
)
def test_slug_is_refused(caller: Caller, slug: str) -> None:
    response = caller.post("/links", {"url": "https://example.com/", "slug": slug})
    assert wrong_fields(response) == ["/slug"]


def test_setting_allows_segments(caller_with: Callable[..., Caller], slug: str) -> None:
    caller = caller_with(MULTI_SEGMENT_SLUGS="true")
    link = caller.create_link(slug=f"{slug}/API/é")
    assert link["slug"] == f"{slug}/API/é"
    assert link["short_url"] == f"http://sign.test/{slug}/API/%C3%A9"


@pytest.mark.parametrize("slug", ["api/x", "Docs/x", "a//b", "/a", "a/", "a/../b", "a/./b", "/"])
def test_segments_are_never_empty_dots_or_reserved(
    caller_with: Callable[..., Caller], slug: str
) -> None:
    caller = caller_with(MULTI_SEGMENT_SLUGS="true")
    response = caller.post("/links", {"url": "https://example.com/", "slug": slug})
    assert wrong_fields(response) == ["/slug"]
