"""The titles of pages."""

from __future__ import annotations

import time

import pytest

from api.titles.page import has_title, is_html, title_of

HTML = "text/html"


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("<title>Plain</title>", "Plain"),
        ("<!doctype html><html><head><meta charset=utf-8><TITLE lang=en>A</TITLE>", "A"),
        ("<title>\n  Two \t words\r\n</title >", "Two words"),
        (
            "<title>Fish &amp; Chips &#8211; caf&eacute; &lt;b&gt;</title>",
            "Fish & Chips – café <b>",
        ),
        ("<title>a < b </titles> c</title>", "a < b </titles> c"),
        ("<title data-x='1'>Attributes</title>", "Attributes"),
        ("<title>First</title><title>Second</title>", "First"),
        ("<!-- <title>No</title> --><title>Yes</title>", "Yes"),
        ("<script>'<title>No</title>'</script><title>Yes</title>", "Yes"),
        ("<style><title>No</title></STYLE><title>Yes</title>", "Yes"),
        ("<svg><title>No</title></svg><title>Yes</title>", "Yes"),
        ("<noscript><title>No</title></noscript><title>Yes</title>", "Yes"),
        ("<titles>No</titles><title>Yes</title>", "Yes"),
        ("<title>Never ends", "Never ends"),
        ("<title>&#0;&#x202e;&#8203;a\u200db\x07&#xD800;</title>", "�a\u200db�"),
        ("<title>" + "x" * 400 + "</title>", "x" * 299 + "…"),
        ("<title></title>", None),
        ("<title> &nbsp;\n </title>", None),
        ("<body><title>Too late</title>", None),
        ("<p>no title at all", None),
        ("<!-- never ends <title>No</title>", None),
        ("<title", None),
        ("", None),
    ],
)
def test_title_is_found(page: str, title: str | None) -> None:
    assert title_of(page.encode(), HTML) == title


@pytest.mark.parametrize(
    ("body", "content_type", "title"),
    [
        ("<title>ÄÖ€</title>".encode(), HTML, "ÄÖ€"),
        ("<title>ÄÖ</title>".encode("latin-1"), HTML, "ÄÖ"),
        ("<title>“€”</title>".encode("cp1252"), "text/html; charset=ISO-8859-1", "“€”"),
        ("<title>Привет</title>".encode("koi8-r"), 'text/html; charset="KOI8-R"', "Привет"),
        ("<title>日本語</title>".encode("shift_jis"), "text/html;charset=Shift_JIS", "日本語"),
        ("<meta charset='euc-jp'><title>日本語</title>".encode("euc_jp"), HTML, "日本語"),
        (
            '<meta http-equiv=Content-Type content="text/html; charset=gb2312">'
            "<title>简体中文</title>".encode("gb2312"),
            HTML,
            "简体中文",
        ),
        ("\ufeff<title>Ä</title>".encode(), "text/html; charset=latin-1", "Ä"),
        ("\ufeff<title>Ä</title>".encode("utf-16-le"), HTML, "Ä"),
        ("\ufeff<title>Ä</title>".encode("utf-16-be"), HTML, "Ä"),
        ("<meta charset=utf-16><title>Ä</title>".encode(), HTML, "Ä"),
        # What is named and is not so, or is no charset, or one that is no text.
        ("<title>Ä</title>".encode(), "text/html; charset=nonsense", "Ä"),
        ("<title>Ä</title>".encode(), "text/html; charset=zip", "Ä"),
        ("<title>Ä</title>".encode(), "text/html; charset=rot13", "Ä"),
        ("<title>Ä</title>".encode("latin-1"), "text/html; charset=utf-8", "\ufffd"),
        ("<title>Ä</title>…".encode()[:-1], HTML, "Ä"),
    ],
)
def test_charset_is_found(body: bytes, content_type: str, title: str) -> None:
    assert title_of(body, content_type) == title


def test_what_is_html_is_told_by_its_type() -> None:
    assert all(map(is_html, ("", "text/html", "TEXT/HTML; charset=x", "application/xhtml+xml")))
    assert not any(map(is_html, ("application/pdf", "text/plain", "image/svg+xml", "video/mp4")))


def test_reading_may_end_behind_the_title() -> None:
    assert has_title(b"<title>A</title>")
    assert not has_title(b"<title>A</titl")
    assert has_title(b"x" * 100_000 + b"</TITLE >")


@pytest.mark.parametrize(
    "piece", ["<", "<!--", "<title", "<title>", "<script>", "<svg ", "</", "&", "<!-", "<meta "]
)
def test_no_page_takes_long(piece: str) -> None:
    body = (piece * (512 * 1024 // len(piece)))[: 512 * 1024].encode()
    started = time.perf_counter()
    title_of(body, HTML)
    assert time.perf_counter() - started < 1
