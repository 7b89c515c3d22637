"""Segments of believable clicks, as web workers leave them; the same seed makes the same ones.

Links follow Zipf's law; addresses, browsers, referrers, languages and campaigns are those of the
demo. The clicks are in the order of time, as they are in a spool.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from api.clicks.folder import READY
from api.clicks.records import header_line
from api.core.ids import EPOCH, SLOTS
from api.demo.visitors import visits

_CHUNK_CLICKS = 20_000
# Not now, so that every run has the same bytes.
_END = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
WORKSPACE = 1


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What waits to be counted."""

    clicks: int
    links: int
    hours: float  # over which the clicks are spread
    segment_clicks: int
    seed: int

    def write(self, folder: Path) -> Iterator[int]:
        """Write the segments into a spool folder; the clicks of each part that is done."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        starts = range(0, self.clicks, _CHUNK_CLICKS)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            yield from pool.map(partial(_write_chunk, self, folder), starts)


def link_ids(count: int) -> list[int]:
    """Ids as the generator would give them, over all slots; of links that need not be there."""
    millisecond = int((datetime(2026, 1, 2, tzinfo=UTC) - EPOCH).total_seconds() * 1000)
    return [((millisecond + number) << 22) | (number * 7 % SLOTS << 12) for number in range(count)]


def _write_chunk(backlog: Backlog, folder: Path, start: int) -> int:
    count = min(_CHUNK_CLICKS, backlog.clicks - start)
    links = [(link, WORKSPACE) for link in link_ids(backlog.links)]
    step_ms = backlog.hours * 3_600_000 / backlog.clicks
    first_ms = _END.timestamp() * 1000 - backlog.hours * 3_600_000
    seed = backlog.seed * 1_000_003 + start
    records = [
        record._replace(at_ms=int(first_ms + (start + place) * step_ms))
        for place, record in enumerate(visits(links, count, 1, _END, seed))
    ]
    for place in range(0, count, backlog.segment_clicks):
        part = records[place : place + backlog.segment_clicks]
        created_ms = part[0].at_ms
        name = f"{created_ms:013d}-{start + place:016x}"
        lines = b"".join(record.to_line() for record in part)
        (folder / f"{name}{READY}").write_bytes(header_line(name, created_ms) + lines)
    return count
