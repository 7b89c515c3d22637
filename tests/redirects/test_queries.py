"""The visitor's query, where a link passes it on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.caller import Caller
from tests.redirects.visitor import Visitor


def location(caller: Caller, visitor: Visitor, target: str, query: str, **fields: Any) -> str:
    link = caller.create_link(target, **({"forward_query": True} | fields))
    response = visitor.open(f"/{link['slug']}?{query}")
    assert response.status_code == 302
    return response.headers["Location"]


def test_query_is_not_passed_on_unless_asked_for(caller: Caller, visitor: Visitor) -> None:
    assert (
        location(caller, visitor, "https://example.com/?a=1", "b=2", forward_query=False)
        == "https://example.com/?a=1"
    )


@pytest.mark.parametrize(
    ("target", "query", "expected"),
    [
        ("https://example.com/", "a=1&b=2", "https://example.com/?a=1&b=2"),
        ("https://example.com/p?x=0", "a=1", "https://example.com/p?x=0&a=1"),
        ("https://example.com/p#part", "a=1", "https://example.com/p?a=1#part"),
        ("https://example.com/p?x=0&y=1", "x=9", "https://example.com/p?y=1&x=9"),
        ("https://example.com/p?x=0", "x=9", "https://example.com/p?x=9"),
        ("https://example.com/p?x=0", "", "https://example.com/p?x=0"),
        ("https://example.com/??x=0", "a", "https://example.com/??x=0&a"),
        ("https://example.com/?q=a%20b+c", "d=e%20f+g", "https://example.com/?q=a%20b+c&d=e%20f+g"),
        ("https://example.com/", "t=%C3%A4&t=%E4", "https://example.com/?t=%C3%A4&t=%E4"),
        ("https://example.com/", "a=1;b=2&&=&c", "https://example.com/?a=1;b=2&&=&c"),
    ],
)
def test_query_is_merged_into_the_targets(
    caller: Caller, visitor: Visitor, target: str, query: str, expected: str
) -> None:
    assert location(caller, visitor, target, query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "a=%0d%0aSet-Cookie:%20x=y",
        "a=\r\nSet-Cookie: x=y",
        "a=\nb",
        "a=\0b",
        "a=<script>\"'",
        "a=ü",
        "#@evil.example",
        "@evil.example/",
        "/../../",
        "&" * 3000,
    ],
)
def test_query_can_change_neither_headers_nor_host(
    caller: Caller, visitor: Visitor, query: str
) -> None:
    link = caller.create_link("https://example.com/p?x=0", forward_query=True)
    response = visitor.open(f"/{link['slug']}?{query}")

    target = response.headers["Location"]
    assert response.status_code == 302
    assert target.startswith("https://example.com/p?x=0")
    assert target.isascii()
    assert target.isprintable()
    assert " " not in target
    assert "Set-Cookie" not in response.headers


def test_form_passes_the_query_on_and_not_itself(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link("https://example.com/", password="pw", forward_query=True)

    response = visitor.open(f"/{link['slug']}?a=1", method="POST", data={"password": "pw"})

    assert response.headers["Location"] == "https://example.com/?a=1"
