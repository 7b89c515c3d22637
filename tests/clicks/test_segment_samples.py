"""Segments as each version of the format was written: a release must read what waits on a disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.clicks.records import (
    ORPHAN_ROOT,
    ORPHAN_UNKNOWN,
    VERSION,
    ClickRecord,
    OrphanRecord,
    SegmentError,
    header_line,
    read_segment,
)
from api.clicks.traces import read_traces
from tests.factories.clicks import a_click

SAMPLES = Path(__file__).parents[1] / "data" / "segments"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
LINK = 41582915018752001


def clicks(start_ms: int) -> list[ClickRecord]:
    page = "https://news.example/item?id=1"
    texts = ("203.0.113.9", FIREFOX, page, "de-DE,de;q=0.9", "utm_source=mail")
    return [
        ClickRecord(start_ms + 1, LINK, 7, *texts, 0),
        ClickRecord(start_ms + 150, LINK, 7, "2001:db8::1", "curl/8.5.0", "", "", "", 1),
    ]


def test_version_1_is_read() -> None:
    segment = read_segment((SAMPLES / "v1.ready").read_bytes())

    assert (segment.id, segment.torn) == ("1764000000000-0123456789abcdef", False)
    assert segment.records == clicks(1764000000000)
    assert list(segment.orphans) == []


def test_version_2_is_read() -> None:
    segment = read_segment((SAMPLES / "v2.ready").read_bytes())

    assert (segment.id, segment.torn) == ("1764000060000-fedcba9876543210", False)
    assert segment.records == clicks(1764000060000)
    assert segment.orphans == [
        OrphanRecord(1764000060100, ORPHAN_UNKNOWN, "go.example.com", 7, 12),
        OrphanRecord(1764000060200, ORPHAN_ROOT, "", 0, 3),
    ]


def test_version_2_is_what_is_written() -> None:
    sample = (SAMPLES / "v2.ready").read_bytes()
    segment = read_segment(sample)

    first, second = segment.records
    unknown, root = segment.orphans
    lines = (line.to_line() for line in (first, unknown, second, root))
    assert header_line(segment.id, segment.created_ms) + b"".join(lines) == sample


def test_there_is_a_sample_of_each_version() -> None:
    names = {path.stem for path in SAMPLES.iterdir()}
    assert names == {f"v{version}" for version in range(1, VERSION + 1)} | {"v2-traced"}


def test_version_2_is_read_with_traces_and_without() -> None:
    sample = (SAMPLES / "v2-traced.ready").read_bytes()

    segment = read_segment(sample)

    assert (segment.id, segment.torn) == ("1764000120000-0011223344556677", False)
    assert segment.records == clicks(1764000120000)
    assert [context.to_traceparent() for context in read_traces(sample)] == [
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ]
    assert read_traces((SAMPLES / "v2.ready").read_bytes()) == []


def test_version_1_has_no_lines_of_visits() -> None:
    with pytest.raises(SegmentError):
        read_segment(b'{"v":1,"segment":"a","created_ms":1}\n[1,1,"",0,1]\n')


@pytest.mark.parametrize(
    "line",
    [
        b'[1,1,"",0,0]',
        b'[1,1,"",0,-1]',
        b'[1,0,"",0,1]',
        b'[1,32768,"",0,1]',
        b'[-1,1,"",0,1]',
        b'[1,1,"",-1,1]',
        b'[1,1,"",0,true]',
        b"[1,1,null,0,1]",
        b'[1,1,"",9223372036854775808,1]',
        b'[1,1,"a\\u0000b",0,1]',
        b'[1,1,"' + b"h" * 254 + b'",0,1]',
        b'[1,1,"",0]',
        b'{"a":1,"b":2,"c":3,"d":4,"e":5}',
        b"5",
        b'[1,1,"",0,1,1]',
    ],
)
def test_a_line_that_is_neither_is_refused(line: bytes) -> None:
    with pytest.raises(SegmentError):
        read_segment(header_line("a", 1) + a_click(1).to_line() + line + b"\n")
