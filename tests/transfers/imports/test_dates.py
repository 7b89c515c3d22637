"""Dates of long ago: order by creation, and the filters on it, are right for them, too."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from api.core.ids import EPOCH, dated_ms, milliseconds_of
from tests.transfers.imports.importer import Importer

DATES = (
    "1969-12-31T23:59:59Z",
    "1999-01-01T00:00:00Z",
    "2019-07-01T12:00:00Z",
    "2019-07-01T12:30:00Z",
    "2025-12-31T23:59:59Z",
    "2026-01-01T00:30:00Z",
    "2026-01-01T01:00:00Z",
    "2026-06-01T00:00:00Z",
)
# Within the time that ids can tell, and before it.
MOMENTS = st.integers(-(10**12), 10**12 * 2).map(lambda it: EPOCH + timedelta(milliseconds=it))


@given(MOMENTS, MOMENTS)
def test_time_in_an_id_follows_the_date(one: datetime, other: datetime) -> None:
    one, other = min(one, other), max(one, other)
    assert 0 <= dated_ms(one) <= dated_ms(other)
    if milliseconds_of(one) >= 3_600_000:
        assert dated_ms(one) == milliseconds_of(one)


def test_links_are_listed_in_the_order_of_their_dates(importer: Importer) -> None:
    rows = [{"url": "https://example.com/", "created_at": date, "tags": ["t"]} for date in DATES]
    importer.run(rows[::-1])
    listed = [link["created_at"] for link in importer.links()]
    assert listed == [date.replace("+00:00", "Z") for date in DATES]
    for date in DATES:
        for step in (-1, 0, 1):
            moment = datetime.fromisoformat(date) + timedelta(seconds=step)
            told = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
            for more in ("", "&tag=t", "&q=example"):
                later = importer.links(f"created_after={told}{more}")
                earlier = importer.links(f"created_before={told}{more}")
                assert [link["created_at"] for link in later] == [d for d in DATES if d >= told]
                assert [link["created_at"] for link in earlier] == [d for d in DATES if d < told]


def test_links_of_one_moment_all_come_to_be(importer: Importer) -> None:
    date = "2026-04-01T00:00:00Z"
    rows = [{"url": "https://example.com/", "created_at": date} for _ in range(4_500)]
    done = importer.run(rows)
    assert (done["created"], done["failed"]) == (4_500, 0)
