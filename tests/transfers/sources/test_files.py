"""Files as people have them: formats, compression, damage."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard

from api.transfers.sources.catalogue import SOURCES
from api.transfers.sources.errors import Unreadable
from api.transfers.sources.feed import Changes, Feed, FileFeed, OwnFeed, RereadFeed
from api.transfers.sources.files import InputFile


@contextmanager
def feed_of(path: Path, service: str | None = None, **changes: Any) -> Iterator[Feed]:
    file, asked = InputFile(str(path)), Changes(**changes)
    try:
        yield OwnFeed(file, asked) if service is None else FileFeed(file, SOURCES[service], asked)
    finally:
        file.close()


def lines_of(path: Path, start: int = 0, **changes: Any) -> list[bytes]:
    with feed_of(path, **changes) as feed:
        return list(feed.lines(start))


def rows_of(path: Path, service: str | None = None, **changes: Any) -> list[Any]:
    return list(map(json.loads, lines_of(path, service=service, **changes)))


def zstd_in_frames(data: bytes) -> bytes:
    half = len(data) // 2
    return b"".join(map(zstandard.compress, (data[:half], data[half:])))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def make(content: str | bytes) -> Path:
        path = tmp_path / "export"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


Writer = Callable[[str | bytes], Path]
LINES = [{"url": f"https://example.com/{number}", "slug": f"n{number}"} for number in range(1000)]
NDJSON = "".join(json.dumps(line) + "\n" for line in LINES).encode()
SHLINK = [
    {"longUrl": f"https://example.com/{n}", "shortCode": f"n{n}", "visitsCount": n}
    for n in range(300)
]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress, zstd_in_frames])
def test_own_export_is_sent_as_it_is(write: Writer, pack: Callable[[bytes], bytes]) -> None:
    with feed_of(write(pack(NDJSON))) as feed:
        assert b"".join(feed.lines(0)) == NDJSON
        assert b"".join(feed.lines(998)).count(b"\n") == 2
        assert feed.done == feed.size


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_compressed_file_that_is_cut_is_refused(
    write: Writer, pack: Callable[[bytes], bytes]
) -> None:
    noise = random.Random(1).randbytes(20_000).hex()
    data = NDJSON + json.dumps({"url": "https://example.com/", "title": noise}).encode()
    path = write(pack(data)[:-100])
    with pytest.raises(Unreadable, match="damaged or cut"):
        lines_of(path)


def test_csv_keeps_its_line_breaks_and_its_header(write: Writer) -> None:
    path = write(
        '\ufeffurl,title,domain\r\n"https://a.example/","two\nlines",old.example\r\nb,,\r\n'
    )
    with feed_of(path) as feed:
        assert feed.content_type == "text/csv"
        assert feed.head == b"url,title,domain\r\n"
    assert lines_of(path) == [
        b'https://a.example/,"two\nlines",old.example\r\n',
        b"b,,\r\n",
    ]
    assert lines_of(path, 1) == [b"b,,\r\n"]


def test_domains_are_changed_in_both_formats(write: Writer) -> None:
    domains = {"old.example": "new.example", "": "from-none.example"}
    lines = [
        {"url": "a", "domain": "OLD.example"},
        {"url": "b"},
        {"url": "c", "domain": "x.example"},
    ]
    ndjson = write("\n".join(map(json.dumps, lines)))
    assert [row["domain"] for row in rows_of(ndjson, domains=domains)] == [
        "new.example",
        "from-none.example",
        "x.example",
    ]
    assert "domain" not in rows_of(ndjson, domains={"*": ""})[2]
    csv = write("url,domain\r\na,OLD.example\r\nb,\r\nc,x.example\r\n")
    assert lines_of(csv, domains=domains) == [
        b"a,new.example\r\n",
        b"b,from-none.example\r\n",
        b"c,x.example\r\n",
    ]
    with feed_of(write("url\r\na\r\n"), domains=domains, redirect_status=301) as feed:
        assert feed.head == b"url,domain,redirect_status\r\n"
        assert list(feed.lines(0)) == [b"a,from-none.example,301\r\n"]


def test_export_that_says_that_it_was_cut_is_refused(write: Writer) -> None:
    whole = b'{"end": {"complete": true, "rows": 1000, "cursor": null}}\n'
    assert len(rows_of(write(NDJSON + whole))) == 1000
    cut = whole.replace(b"true", b"false")
    with pytest.raises(Unreadable, match="was cut"):
        rows_of(write(NDJSON + cut))


def test_json_may_be_a_list_pages_or_lines(write: Writer) -> None:
    def page(records: list[Any]) -> dict[str, Any]:
        return {"shortUrls": {"data": records, "pagination": {"pagesCount": 2}}}

    pages = [page(SHLINK[:100]), page(SHLINK[100:])]
    for content in (
        json.dumps(SHLINK),
        json.dumps(pages),
        "".join(map(json.dumps, pages)),
        "\n".join(map(json.dumps, SHLINK)),
        "\ufeff" + json.dumps({"shortUrls": {"pagination": {}, "data": SHLINK}}),
    ):
        assert [row["slug"] for row in rows_of(write(content), "shlink")] == [
            record["shortCode"] for record in SHLINK
        ]


def test_empty_list_has_no_rows(write: Writer) -> None:
    assert rows_of(write('{"shortUrls": {"data": []}}'), "shlink") == []


def test_export_of_phpmyadmin_is_read(write: Writer) -> None:
    row = {"keyword": "a", "url": "https://example.com/", "timestamp": "0000-00-00 00:00:00"}
    dump = [{"type": "header"}, {"type": "table", "name": "yourls_url", "data": [row]}]
    assert rows_of(write(json.dumps(dump[1:])), "yourls") == [
        {"url": "https://example.com/", "slug": "a"}
    ]


def test_tables_may_be_separated_by_semicolons_or_tabs(write: Writer) -> None:
    for mark in ";\t":
        text = (
            mark.join(("Long URL", "Short code")) + "\n" + mark.join(("https://a.example/,b", "x"))
        )
        assert rows_of(write(text), "shlink")[0]["url"] == "https://a.example/,b"


def test_csv_is_not_taken_for_a_dump(write: Writer) -> None:
    text = "created,user,keyword,url\n2024-01-02 03:04:05,ann,a,https://example.com/\n"
    assert rows_of(write(text), "yourls") == [
        {"url": "https://example.com/", "slug": "a", "created_at": "2024-01-02T03:04:05Z"}
    ]


def test_dump_is_read_in_small_memory_and_whole(write: Writer) -> None:
    rows = [f"('k{n}','https://example.com/{'p' * 500}?{n}','t\\\\')" for n in range(2000)]
    path = write(
        "INSERT INTO `yourls_url` (`keyword`,`url`,`title`) VALUES " + ",".join(rows) + ";"
    )
    found = rows_of(path, "yourls")
    assert [row["slug"] for row in found] == [f"k{n}" for n in range(2000)]
    assert found[0]["title"] == "t\\"


@pytest.mark.parametrize(
    ("service", "content", "reason"),
    [
        (None, "", "it is empty"),
        (None, "[1, 2]", "name its service with --from"),
        (None, b"PK\x03\x04....", "an archive of files"),
        (None, '{"url": "' + "x" * (1 << 20), "line 1 is longer than 1 MiB"),
        (None, "url,title\n\xe9".encode("latin-1"), "not UTF-8: byte 0xe9"),
        ("shlink", "", "it is empty"),
        ("shlink", '{"shortUrls": {"data": [{"longUrl": "x"}', "no whole JSON"),
        ("shlink", '[{"target": "https://example.com/"}]', "longUrl is missing among target"),
        ("shlink", "longUrl,shortCode\na,b,c", "line 2 has 3 cells, the header 2"),
        (
            "dub",
            json.dumps({"x": list(range(30_000))}),
            "begins with something much larger than a link",
        ),
        ("kutt", "hello\nyou", "no links of Kutt: target is missing among hello"),
        ("yourls", "INSERT INTO `yourls_url` VALUES ('a','b", "the dump is cut"),
        ("yourls", "INSERT INTO url VALUES ('a','b','c','d','e',1),", "the dump is cut"),
        ("yourls", "INSERT INTO `yourls_url` VALUES ('a','b');", "2 values, not 6"),
    ],
)
def test_what_is_no_export_is_told_in_one_line(
    write: Writer, service: str | None, content: str | bytes, reason: str
) -> None:
    with pytest.raises(Unreadable, match=reason) as raised:
        rows_of(write(content), service)
    assert "\n" not in raised.value.detail
    assert "export" in raised.value.detail


@pytest.mark.parametrize("form", ["ndjson", "csv", "shlink"])
def test_rows_that_are_skipped_must_be_those_that_were_read(write: Writer, form: str) -> None:
    service = "shlink" if form == "shlink" else None
    lines = [f"https://example.com/{n},n{n}" for n in range(300)]
    contents = {
        "ndjson": NDJSON.decode(),
        "csv": "\n".join(["url,slug", *lines]),
        "shlink": json.dumps(SHLINK),
    }
    content = contents[form]
    with feed_of(write(content), service) as feed:
        assert isinstance(feed, RereadFeed)
        reading = feed.lines(0)
        read = []
        for number in range(1, 251):
            read.append(next(reading))
            if number % 2:
                feed.trail.note()
        notes = feed.trail.notes
        rest = list(reading)
    assert len(notes) <= 64
    assert notes[0][0] == 1

    def gone_on(changed: str, start: int) -> list[bytes]:
        with feed_of(write(changed), service) as feed:
            assert isinstance(feed, RereadFeed)
            feed.trail.notes = list(notes)
            return list(feed.lines(start))

    assert gone_on(content, 250) == rest
    assert gone_on(content, 0) == read + rest
    # Row 221 is behind what the server has, and may be repaired.
    repaired = content.replace("example.com/220", "example.org/220")
    assert gone_on(repaired, 220)[1:] == (read + rest)[221:]
    with pytest.raises(Unreadable, match=r"its first \d+ rows differ; begin --anew"):
        gone_on(repaired, 250)
