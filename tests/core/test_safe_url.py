"""Targets: real addresses are accepted, and their form is fit for a header."""

from __future__ import annotations

from pathlib import Path

import ada_url
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.core.errors import Invalid
from api.core.safe_url import MAX_URL_LENGTH, TargetRules, host_of, with_query

REAL_URLS = Path(__file__).parent.parent / "data" / "urls.txt"
RULES = TargetRules(("http", "https"), "https://sign.test", lambda host: host == "short.example")


def fit_for_a_header(text: str) -> bool:
    return all(32 < ord(character) < 127 for character in text)


def test_every_real_address_is_accepted_in_one_stable_form() -> None:
    lines = [line for line in REAL_URLS.read_text("utf-8").splitlines() if line and line[0] != "#"]
    assert len(lines) >= 2000
    for line in lines:
        kept = RULES.normalise(line)
        assert fit_for_a_header(kept), line
        assert RULES.normalise(kept) == kept, line


@settings(max_examples=300)
@given(
    st.text() | st.text().map("https://example.com/{}".format) | st.text().map("http://{}".format)
)
def test_any_text_is_refused_or_becomes_fit_for_a_header(text: str) -> None:
    try:
        kept = RULES.normalise(text)
    except Invalid:
        return
    assert fit_for_a_header(kept)
    assert kept.startswith(("http://", "https://"))
    assert len(kept) <= MAX_URL_LENGTH
    assert RULES.normalise(kept) == kept


@pytest.mark.parametrize(
    "url",
    [
        *("https://sign.test/", "http://sign.test/x", "https://SIGN.test.:443/"),
        *("http://sign.test:80", "https://short.example/a", "http://SHORT.example.:8080/"),
        "https://ｓｈｏｒｔ.example/",
    ],
)
def test_short_domains_are_refused(url: str) -> None:
    with pytest.raises(Invalid, match="Leads back"):
        RULES.normalise(url)


def test_host_of_a_development_server_may_have_other_ports() -> None:
    rules = TargetRules(("http",), "http://127.0.0.1:8000", lambda host: False)
    assert rules.normalise("http://127.0.0.1:3000/") == "http://127.0.0.1:3000/"
    assert rules.normalise("http://127.0.0.1/") == "http://127.0.0.1/"
    for url in ("http://127.0.0.1:8000/", "http://127.1:8000/", "http://0x7f000001:8000"):
        with pytest.raises(Invalid, match="Leads back"):
            rules.normalise(url)


@settings(max_examples=300)
@given(st.text())
def test_query_of_a_visitor_never_leaves_the_targets_query(query: str) -> None:
    target = "https://example.com/path?own=1#fragment"
    result = with_query(target, query)
    assert fit_for_a_header(result)
    url = ada_url.URL(result)
    assert (url.origin, url.pathname, url.hash) == ("https://example.com", "/path", "#fragment")


@pytest.mark.parametrize(
    ("target", "query", "result"),
    [
        ("https://e.com/", "%ff=1", "https://e.com/?%ff=1"),
        ("https://e.com/?%ff=0&b", "%FF=1", "https://e.com/?b&%FF=1"),
        ("https://e.com/?%ff=0&b", "c=%aa", "https://e.com/?%ff=0&b&c=%aa"),
        ("https://e.com/?a%20b=0&c=d%20e", "a+b=1", "https://e.com/?c=d%20e&a+b=1"),
        ("https://e.com/?a=1&a=2&flag", "a=3&a=4", "https://e.com/?flag&a=3&a=4"),
        ("https://e.com/?a&&b", "c", "https://e.com/?a&&b&c"),
        ("https://e.com/?a=1", "a", "https://e.com/?a"),
    ],
)
def test_pairs_stay_as_they_are_written(target: str, query: str, result: str) -> None:
    assert with_query(target, query) == result


@given(st.text("abc=&%+ ", max_size=20))
def test_names_that_the_visitor_gives_win(query: str) -> None:
    result = with_query("https://example.com/?a=own&z=kept", query)
    assert "z=kept" in result
    given_names = {pair.partition("=")[0] for pair in query.split("&")}
    assert ("a=own" in result) == ("a" not in given_names)


@given(
    st.sampled_from(("http://", "https://", "HTTP://", "ftp://", "http:/", "http:", "")),
    st.text("aZ0x19.-_:@[]%\\ß ", max_size=12),
    st.sampled_from(("", "/", "/a?b", "?q", "#f", ":80", ":443/", "\\x", " ")),
)
def test_host_is_what_a_browser_makes_of_it(scheme: str, host: str, rest: str) -> None:
    text = scheme + host + rest
    try:
        url = ada_url.URL(text)
    except ValueError:
        assert host_of(text) is None
    else:
        assert host_of(text) == (url.hostname.strip("[]").rstrip(".").lower() or None)
