"""The title of a page of HTML.

Only what the standard's tokenizer would need to find the first `title` is done, in one pass: each
character is looked at a bounded number of times, whatever the page is.
"""

from __future__ import annotations

import codecs
import html
import re
import unicodedata

MAX_TITLE = 300

# What has to be skipped as a whole: what looks like a title in there is none.
_NEXT = re.compile(
    r"<(?:(?P<comment>!--)|(?P<raw>script|style|noscript|template|textarea|iframe|xmp|svg|math)"
    r"(?=[\s/>])|(?P<title>title)(?=[\s/>])|(?P<body>body)(?=[\s/>]))",
    re.IGNORECASE,
)
_TITLE_END = re.compile(r"</title(?=[\s/>])|\Z", re.IGNORECASE)
_ENOUGH = re.compile(rb"</title[\s/>]", re.IGNORECASE)
_META = re.compile(
    rb"<meta[^>]{0,512}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE
)
_HEADER = re.compile(r"charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
# A declaration must be within these (HTML, "prescan a byte stream").
_DECLARED_WITHIN = 1_024
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What the Encoding Standard means by names that Python takes by their word.
_MEANT = {
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin1": "cp1252",
    "iso-8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "x-sjis": "cp932",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "big5": "big5hkscs",
    "tis-620": "cp874",
    "utf-16": "utf-16-le",
    "x-user-defined": "cp1252",
}
# Those of Python's that are no encodings of text.
_TEXT_ONLY = re.compile(r"(utf|cp|iso|gb|big5|euc|koi|mac|ptcp|johab|hz|tis|shift)", re.IGNORECASE)


def is_html(content_type: str) -> bool:
    """Whether a `Content-Type` says HTML, or nothing."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in ("", "text/html", "application/xhtml+xml")


def has_title(body: bytes | bytearray) -> bool:
    """Whether the title of a page is likely to be in these first bytes of it."""
    return _ENOUGH.search(body, max(0, len(body) - 20_000)) is not None


def title_of(body: bytes, content_type: str) -> str | None:
    """The title of a page, in one line and at most so many characters; None where it has none."""
    text = decoded(body, content_type)
    raw = _raw_title(text)
    return None if raw is None else cleaned(html.unescape(raw))


def decoded(body: bytes, content_type: str) -> str:
    """A page as text: by its mark, its header, its own declaration, or as it looks."""
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    named = _HEADER.search(content_type)
    label = named[1] if named else ""
    if not _codec(label):
        declared = _META.search(body[:_DECLARED_WITHIN])
        label = declared[1].decode("ascii") if declared else ""
        if label.lower().startswith("utf-16"):
            label = "utf-8"  # it was read as ASCII just now, so it is not
    codec = _codec(label)
    if codec:
        return body.decode(codec, "replace")
    try:
        # What was cut off in the midst of a character is still UTF-8.
        return codecs.getincrementaldecoder("utf-8")().decode(body)
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def cleaned(title: str) -> str | None:
    """A title in one line, without what does not show or turns text round; None for nothing."""
    visible = (" " if _is_space(it) else it for it in title if not _is_hidden(it))
    line = " ".join("".join(visible).split())
    if len(line) > MAX_TITLE:
        line = f"{line[: MAX_TITLE - 1].rstrip()}…"
    return line or None


def _raw_title(text: str) -> str | None:
    place = 0
    while (found := _NEXT.search(text, place)) is not None:
        if found["body"]:
            return None
        if found["title"]:
            start = text.find(">", found.end())
            if start < 0:
                return None
            end = _TITLE_END.search(text, start + 1)
            return text[start + 1 : end.start() if end else len(text)]
        closing = "-->" if found["comment"] else f"</{found['raw'].lower()}"
        place = _after(text, closing, found.end())
        if place < 0:
            return None
    return None


def _after(text: str, closing: str, place: int) -> int:
    """Behind the next `closing`, in any case; -1 where there is none."""
    end = re.compile(re.escape(closing), re.IGNORECASE).search(text, place)
    return -1 if end is None else end.end()


def _codec(label: str) -> str | None:
    """The codec of a label, None where there is none."""
    name = _MEANT.get(label.lower(), label)
    try:
        found = codecs.lookup(name).name if name else ""
    except LookupError:
        return None
    return found if _TEXT_ONLY.match(found) else None


def _is_space(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Zs", "Zl", "Zp")


def _is_hidden(character: str) -> bool:
    """Control and format characters, and what is no character: but for white space, and what
    joins letters and emoji."""
    if character.isspace() or character in "\u200c\u200d":
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn")
