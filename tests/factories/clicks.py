"""Clicks and segments for tests."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

from api.clicks.folder import new_segment_id
from api.clicks.ingest import RawSegment
from api.clicks.records import ClickRecord, header_line
from api.core.ids import new_id

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.0.0 Safari/537.36"
)
_slots = itertools.cycle(range(1024))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def a_link_id() -> int:
    """The id of a link that no other test has; clicks need no link."""
    return new_id(next(_slots))


def a_click(link_id: int, **changes: Any) -> ClickRecord:
    click = ClickRecord(
        at_ms=now_ms(),
        link_id=link_id,
        workspace_id=7,
        address="8.8.8.8",
        user_agent=CHROME,
        referrer="https://www.example.org/page",
        language="de-DE,de;q=0.9",
        query="utm_source=mail",
        flags=0,
    )
    return click._replace(**changes)


def a_segment(
    clicks: Sequence[ClickRecord], *, tail: bytes = b"", created_ms: int | None = None
) -> RawSegment:
    created_ms = now_ms() if created_ms is None else created_ms
    name = new_segment_id(created_ms)
    lines = b"".join(click.to_line() for click in clicks)
    return RawSegment(name, header_line(name, created_ms) + lines + tail)
