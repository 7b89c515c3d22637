"""Local hours, days, weeks and months, as pure functions of time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.core.errors import Invalid
from api.stats.periods import (
    INTERVALS,
    MAX_BUCKETS,
    QUARTER,
    bucket_starts,
    period_of,
    start_of,
)

NOW = datetime(2026, 5, 6, 12, 7, 31, 5, tzinfo=UTC)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Apia",
    "America/Havana",
    "America/St_Johns",
    "Asia/Beirut",
    "Africa/Casablanca",
    "Antarctica/Troll",
)


def starts(first: str, last: str, interval: str, zone: str) -> list[str]:
    """The buckets of the local dates `first` to `last`, in local time."""
    tz = ZoneInfo(zone)
    begin = start_of(date.fromisoformat(first), tz)
    end = start_of(date.fromisoformat(last) + timedelta(days=1), tz)
    return [moment.astimezone(tz).isoformat() for moment in bucket_starts(begin, end, interval, tz)]


def lengths(first: str, last: str, interval: str, zone: str) -> list[float]:
    """The hours of each bucket of the local dates `first` to `last`."""
    tz = ZoneInfo(zone)
    begin = start_of(date.fromisoformat(first), tz)
    end = start_of(date.fromisoformat(last) + timedelta(days=1), tz)
    edges = [*bucket_starts(begin, end, interval, tz), end]
    return [(b - a) / timedelta(hours=1) for a, b in pairwise(edges)]


def test_berlin_day_has_23_hours_when_clocks_go_forward() -> None:
    assert lengths("2026-03-28", "2026-03-30", "day", "Europe/Berlin") == [24, 23, 24]
    assert len(lengths("2026-03-29", "2026-03-29", "hour", "Europe/Berlin")) == 23


def test_berlin_day_has_25_hours_when_clocks_go_back() -> None:
    assert lengths("2026-10-24", "2026-10-26", "day", "Europe/Berlin") == [24, 25, 24]
    hours = starts("2026-10-25", "2026-10-25", "hour", "Europe/Berlin")
    assert hours[2:4] == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]
    assert len(hours) == 25


@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("Asia/Kolkata", "2026-05-05T18:30:00+00:00"),
        ("Asia/Kathmandu", "2026-05-05T18:15:00+00:00"),
        ("Pacific/Chatham", "2026-05-05T11:15:00+00:00"),
        ("Pacific/Kiritimati", "2026-05-05T10:00:00+00:00"),
        ("Pacific/Pago_Pago", "2026-05-06T11:00:00+00:00"),
    ],
)
def test_day_begins_at_local_midnight(zone: str, midnight: str) -> None:
    assert start_of(date(2026, 5, 6), ZoneInfo(zone)).isoformat() == midnight


def test_hours_begin_on_the_local_hour_in_a_zone_of_45_minutes() -> None:
    hours = starts("2026-05-06", "2026-05-06", "hour", "Asia/Kathmandu")
    assert len(hours) == 24
    assert hours[0] == "2026-05-06T00:00:00+05:45"
    assert hours[23] == "2026-05-06T23:00:00+05:45"


def test_lord_howe_changes_by_half_an_hour() -> None:
    zone = "Australia/Lord_Howe"
    assert lengths("2026-04-04", "2026-04-06", "day", zone) == [24, 24.5, 24]
    assert lengths("2026-10-03", "2026-10-05", "day", zone) == [24, 23.5, 24]
    back = lengths("2026-04-05", "2026-04-05", "hour", zone)
    assert (len(back), back[1]) == (24, 1.5)
    forward = lengths("2026-10-04", "2026-10-04", "hour", zone)
    assert (len(forward), forward[2]) == (24, 0.5)
    assert starts("2026-10-04", "2026-10-04", "hour", zone)[2] == "2026-10-04T02:30:00+11:00"


def test_day_that_samoa_left_out_has_no_bucket() -> None:
    days = starts("2011-12-29", "2011-12-31", "day", "Pacific/Apia")
    assert days == ["2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"]


def test_day_whose_midnight_is_skipped_begins_at_one() -> None:
    days = starts("2026-03-29", "2026-03-29", "day", "Asia/Beirut")
    assert days == ["2026-03-29T01:00:00+03:00"]
    assert lengths("2026-03-29", "2026-03-29", "day", "Asia/Beirut") == [23]


def test_day_whose_midnight_comes_twice_begins_with_the_first() -> None:
    # In Havana, one o'clock becomes midnight again.
    assert starts("2026-11-01", "2026-11-01", "day", "America/Havana") == [
        "2026-11-01T00:00:00-04:00"
    ]
    assert lengths("2026-11-01", "2026-11-01", "day", "America/Havana") == [25]


def test_weeks_begin_on_monday() -> None:
    weeks = starts("2026-03-25", "2026-04-07", "week", "Europe/Berlin")
    assert weeks == [
        "2026-03-23T00:00:00+01:00",
        "2026-03-30T00:00:00+02:00",
        "2026-04-06T00:00:00+02:00",
    ]


def test_months_begin_on_the_first() -> None:
    months = starts("2025-12-31", "2026-03-01", "month", "America/New_York")
    assert months == [
        "2025-12-01T00:00:00-05:00",
        "2026-01-01T00:00:00-05:00",
        "2026-02-01T00:00:00-05:00",
        "2026-03-01T00:00:00-05:00",
    ]


def test_end_on_an_edge_opens_no_bucket() -> None:
    assert len(starts("2026-05-04", "2026-05-10", "week", "UTC")) == 1


_FIRST = datetime(1990, 1, 1, tzinfo=UTC)
_QUARTERS_OF_45_YEARS = 45 * 365 * 96
_moments = st.integers(0, _QUARTERS_OF_45_YEARS).map(lambda number: _FIRST + number * QUARTER)
_LONGEST = {"hour": 20, "day": 500, "week": 2_000, "month": 8_000}


# No deadline: a busy machine is not a failure.
@settings(deadline=None)
@given(
    start=_moments,
    share=st.floats(0.0001, 1),
    interval=st.sampled_from(INTERVALS),
    name=st.sampled_from(ZONES),
)
def test_buckets_tile_the_period(start: datetime, share: float, interval: str, name: str) -> None:
    zone = ZoneInfo(name)
    end = start + max(timedelta(days=_LONGEST[interval]) * share // QUARTER * QUARTER, QUARTER)
    found = list(bucket_starts(start, end, interval, zone))
    assert found[0] <= start
    assert found[-1] < end
    assert all(one < other for one, other in pairwise(found))
    # Only the first begins before the period: there is neither gap nor overlap.
    assert all(moment > start for moment in found[1:])
    # The quarters of an hour that are counted never lie across an edge.
    assert all((moment - found[0]) % QUARTER == timedelta() for moment in found)
    if interval != "hour":
        assert all(
            (moment - QUARTER).astimezone(zone).date() < moment.astimezone(zone).date()
            for moment in found
        )


def test_default_is_the_last_30_days_on_whole_quarters() -> None:
    period = period_of(None, None, "day", "UTC", NOW)
    assert period.end == datetime(2026, 5, 6, 12, 15, tzinfo=UTC)
    assert period.start == datetime(2026, 4, 6, 12, 0, tzinfo=UTC)
    assert period.bucket_starts[0] == datetime(2026, 4, 6, tzinfo=UTC)
    assert len(period.bucket_starts) == 31


def test_dates_are_whole_local_days() -> None:
    period = period_of(date(2026, 3, 29), date(2026, 3, 29), "day", "Europe/Berlin", NOW)
    assert period.start == datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert period.end == datetime(2026, 3, 29, 22, tzinfo=UTC)
    assert period.bucket_starts == [period.start]


def test_moment_on_a_quarter_is_not_widened() -> None:
    edge = datetime(2026, 5, 6, 12, 15, tzinfo=UTC)
    period = period_of(edge, edge + QUARTER, "hour", "UTC", NOW)
    assert (period.start, period.end) == (edge, edge + QUARTER)


@pytest.mark.parametrize(
    ("parameter", "question"),
    [
        ("from", {"start": date(2026, 5, 7), "end": date(2026, 5, 6)}),
        ("from", {"start": NOW, "end": NOW}),
        ("from", {"start": date(1969, 12, 31)}),
        ("from", {"start": datetime.min.replace(tzinfo=UTC)}),
        ("to", {"end": date.max}),
        ("to", {"end": datetime.max.replace(tzinfo=UTC)}),
        ("interval", {"start": date(2026, 1, 1), "interval": "hour"}),
        ("interval", {"start": date(1970, 1, 1), "interval": "day"}),
        ("timezone", {"timezone": "Mars/Olympus"}),
        ("timezone", {"timezone": "../../etc/passwd"}),
        ("timezone", {"timezone": "Europe"}),
        ("timezone", {"timezone": "/etc/localtime"}),
    ],
)
def test_impossible_question_names_its_parameter(
    parameter: str, question: dict[str, object]
) -> None:
    asked = {"start": None, "end": None, "interval": "day", "timezone": "UTC", "now": NOW}
    with pytest.raises(Invalid) as caught:
        period_of(**asked | question)  # type: ignore[arg-type]
    assert caught.value.extra["errors"][0]["parameter"] == parameter


def test_as_many_buckets_as_allowed() -> None:
    end = datetime(2026, 5, 6, tzinfo=UTC)
    start = end - timedelta(days=MAX_BUCKETS)
    assert len(period_of(start, end, "day", "UTC", NOW).bucket_starts) == MAX_BUCKETS
    with pytest.raises(Invalid):
        period_of(start - QUARTER, end, "day", "UTC", NOW)


def test_all_possible_months_fit() -> None:
    assert len(period_of(date(1970, 1, 1), date(2099, 12, 31), "month", "UTC", NOW).bucket_starts)
