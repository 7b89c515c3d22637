"""Which counts answer a question."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from api.stats.spans import spans_of

MAY = datetime(2026, 5, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 5, day, hour, tzinfo=UTC)


def test_whole_days_are_read_by_day() -> None:
    assert spans_of([at(1), at(2), at(5)]) == ([(at(1), at(5))], [])


def test_what_is_no_whole_day_is_read_by_quarter() -> None:
    assert spans_of([at(1, 5), at(1, 23)]) == ([], [(at(1, 5), at(1, 23))])
    assert spans_of([at(1, 5), at(2, 3)]) == ([], [(at(1, 5), at(2, 3))])
    spans = spans_of([at(1, 5), at(4, 7)])
    assert spans == ([(at(2), at(4))], [(at(1, 5), at(2)), (at(4), at(4, 7))])


def test_no_day_reaches_over_an_edge() -> None:
    assert spans_of([at(1, 5), at(2, 5), at(3, 5)]) == ([], [(at(1, 5), at(3, 5))])


@given(st.lists(st.integers(0, 3_000), min_size=2, max_size=12, unique=True))
def test_spans_are_disjoint_and_the_whole(quarters: list[int]) -> None:
    edges = [MAY + place * QUARTER for place in sorted(quarters)]
    spans = spans_of(edges)
    found = sorted([*spans.days, *spans.quarters])
    assert found[0][0] == edges[0]
    assert found[-1][1] == edges[-1]
    assert all(one[1] == other[0] for one, other in pairwise(found))
    for start, end in spans.days:
        assert (start.hour, start.minute, end.hour, end.minute) == (0, 0, 0, 0)
    for edge in edges:
        assert not any(
            start < edge < end and (edge.hour, edge.minute) != (0, 0) for start, end in spans.days
        )
