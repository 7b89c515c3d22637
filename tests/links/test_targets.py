"""Which addresses a link may lead to, and how they are kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.answers import wrong_fields
from tests.caller import Caller

LONG_QUERY = "&".join(f"utm_{number}={'x' * 60}" for number in range(100))


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://EXAMPLE.com:443/A", "https://example.com/A"),
        ("  https://example.com/a\n", "https://example.com/a"),
        ("https://example.com/a\tb\r\nc", "https://example.com/abc"),
        ("https:\\\\example.com\\a", "https://example.com/a"),
        ("https://münchen.example/ß?ü=ö#é", "https://xn--mnchen-3ya.example/%C3%9F?%C3%BC=%C3%B6#%C3%A9"),
        ("https://日本語.jp/", "https://xn--wgv71a119e.jp/"),
        ("http://[2001:DB8::1]:8080/x", "http://[2001:db8::1]:8080/x"),
        ("http://192.168.0.1.:81/", "http://192.168.0.1:81/"),
        ("https://example.com/a b", "https://example.com/a%20b"),
        ("https://example.com/%7Euser/%e2%82%ac", "https://example.com/%7Euser/%e2%82%ac"),
        ("https://example.com/%zz?%", "https://example.com/%zz?%"),
        ("https://example.com/a/../b/./c", "https://example.com/b/c"),
        ("https://example.com/?a=1&a=2#x#y", "https://example.com/?a=1&a=2#x#y"),
        ("https://example.com/?q=\"<>'", "https://example.com/?q=%22%3C%3E%27"),
        (f"https://example.com/?{LONG_QUERY}", f"https://example.com/?{LONG_QUERY}"),
        ("https://user:secret@example.com/", "https://user:secret@example.com/"),
    ],
)  # fmt: skip
def test_address_is_kept_as_browsers_write_it(caller: Caller, url: str, kept: str) -> None:
    assert caller.create_link(url)["url"] == kept


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "example.com",
        "/path",
        "//example.com",
        "https://",
        "https://exa mple.com/",
        "https://example.com:99999/",
        "https://[::1",
        "https://\u202eexample.com/",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "java\nscript:alert(1)",
        " \x01javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://example.com/1",
        "ftp://example.com/",
        "mailto:me@example.com",
        "https://example.com/" + "a" * 8192,
        "https://example.com/" + "é" * 2000,
    ],
)
def test_address_that_is_none_or_not_allowed_is_refused(caller: Caller, url: str) -> None:
    assert wrong_fields(caller.post("/links", {"url": url})) == ["/url"]
    link = caller.create_link()
    assert wrong_fields(caller.patch(f"/links/{link['id']}", {"url": url})) == ["/url"]


@pytest.mark.parametrize(
    "url",
    [
        "http://sign.test/x",
        "https://sign.test/x",
        "http:sign.test",
        "HTTP://SIGN.TEST:80/",
        "http://sign.test./x",
        "http://user@sign.test/",
        "http://s\u00adign.test/",
    ],
)
def test_own_domain_is_no_target(caller: Caller, url: str) -> None:
    assert wrong_fields(caller.post("/links", {"url": url})) == ["/url"]


def test_claimed_domain_is_no_target(caller: Caller, other_caller: Caller) -> None:
    assert caller.post("/domains", {"host": "loop.example"}).status_code == 201
    for who in (caller, other_caller):
        assert wrong_fields(who.post("/links", {"url": "https://LOOP.example/a"})) == ["/url"]
    operations = [{"op": "create", "link": {"url": "https://loop.example./b"}}] * 2
    answer = caller.post("/links/batch", {"operations": operations}).json or {}
    assert [result["status"] for result in answer["results"]] == [422, 422]


def test_another_service_on_the_same_host_is_a_target(caller: Caller) -> None:
    caller.create_link("http://sign.test:9000/")


def test_setting_allows_more_schemes_but_never_scripts(
    caller_with: Callable[..., Caller],
) -> None:
    caller = caller_with(ALLOWED_URL_SCHEMES="https,mailto,javascript,data,Obsidian")
    assert caller.create_link("mailto:me@example.com")["url"] == "mailto:me@example.com"
    assert caller.create_link("obsidian://open?vault=x")["url"] == "obsidian://open?vault=x"
    for url in ("http://example.com/", "javascript:alert(1)", "data:text/html,x"):
        assert wrong_fields(caller.post("/links", {"url": url})) == ["/url"]
