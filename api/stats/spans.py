"""Which counts answer a question: whole days of UTC by day, what is left by quarter of an hour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

_DAY = timedelta(days=1)
Span = tuple[datetime, datetime]


class Spans(NamedTuple):
    """Disjoint times, ascending; together they are the whole that was asked for."""

    days: list[Span]
    quarters: list[Span]


def spans_of(edges: Sequence[datetime]) -> Spans:
    """The times between edges, ascending and in UTC; no whole day of one reaches over an edge."""
    found = Spans([], [])
    for start, end in pairwise(edges):
        first, last = _midnight(start - datetime.resolution) + _DAY, _midnight(end)
        if first < last:
            _append(found.quarters, start, first)
            _append(found.days, first, last)
            _append(found.quarters, last, end)
        else:
            _append(found.quarters, start, end)
    return found


def _append(spans: list[Span], start: datetime, end: datetime) -> None:
    if spans and spans[-1][1] == start:
        start = spans.pop()[0]
    if start < end:
        spans.append((start, end))


def _midnight(moment: datetime) -> datetime:
    """The beginning of a moment's day, UTC."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
