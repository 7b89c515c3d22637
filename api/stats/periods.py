"""Turns a question's times into a period and its buckets: local hours, days, weeks and months.

Local time is worked out here and nowhere else; PostgreSQL is given moments in UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

from api.core.errors import Invalid

INTERVALS = ("hour", "day", "week", "month")
DEFAULT_LENGTH = timedelta(days=30)
MAX_BUCKETS = 2_200
QUARTER = timedelta(minutes=15)
_YEARS = range(1970, 2100)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From `start` up to `end`, both on a quarter of an hour in UTC, and its buckets' starts.

    The first bucket may have begun before `start`, and the last may go on after `end`: what they
    count is within the period, what they are called is the whole local day, week or month.
    """

    start: datetime
    end: datetime
    bucket_starts: list[datetime]


def period_of(
    start: datetime | date | None,
    end: datetime | date | None,
    interval: str,
    timezone: str,
    now: datetime,
) -> Period:
    """The period that is asked for, widened outwards to whole quarters of an hour.

    A date is the midnight in `timezone` that begins it, and as an `end` the one that ends it.

    Raises:
        Invalid: the time zone is unknown, the period empty, or the buckets too many.
    """
    zone = zone_of(timezone)
    last = now if end is None else _moment("to", end, zone, timedelta(days=1))
    first = last - DEFAULT_LENGTH if start is None else _moment("from", start, zone)
    if first >= last:
        raise Invalid.parameter("from", "Must be before `to`.")
    first, last = _floor(first), _floor(last + QUARTER - datetime.resolution)
    starts = list(islice(bucket_starts(first, last, interval, zone), MAX_BUCKETS + 1))
    if len(starts) > MAX_BUCKETS:
        raise Invalid.parameter(
            "interval", f"Gives more than {MAX_BUCKETS:,} buckets; take a longer one."
        )
    return Period(start=first, end=last, bucket_starts=starts)


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its IANA name.

    Raises:
        Invalid: there is no such zone.
    """
    if name not in _zone_names():
        raise Invalid.parameter("timezone", "Not a time zone of the IANA database.")
    return ZoneInfo(name)


def bucket_starts(
    start: datetime, end: datetime, interval: str, zone: ZoneInfo
) -> Iterator[datetime]:
    """The starts, in UTC and ascending, of the local intervals that meet [start, end)."""
    starts = (
        _hour_starts(start, zone) if interval == "hour" else _date_starts(start, interval, zone)
    )
    current = next(starts)
    for following in starts:
        # A date that a zone left out (Samoa, 30 December 2011) starts where the next one does.
        if following > max(start, current):
            yield current
        if following >= end:
            return
        current = following


def _hour_starts(start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    moment = start
    while not _begins_hour(moment, zone):
        moment -= QUARTER
    while True:
        if _begins_hour(moment, zone):
            yield moment
        moment += QUARTER


def _begins_hour(moment: datetime, zone: ZoneInfo) -> bool:
    # The first test also parts the two hours of one name when clocks go back; the second finds
    # the hour that begins at half past, where they go forward by half an hour (Lord Howe).
    local, before = moment.astimezone(zone), (moment - QUARTER).astimezone(zone)
    return local.minute == 0 or (local.date(), local.hour) != (before.date(), before.hour)


def _date_starts(start: datetime, interval: str, zone: ZoneInfo) -> Iterator[datetime]:
    day = start.astimezone(zone).date()
    if interval == "week":
        day -= timedelta(days=day.weekday())
    elif interval == "month":
        day = day.replace(day=1)
    while True:
        yield start_of(day, zone)
        if interval == "month":
            day = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
        else:
            day += timedelta(days=7 if interval == "week" else 1)


def start_of(day: date, zone: ZoneInfo) -> datetime:
    """The moment, in UTC, at which a local date begins."""
    moment = datetime.combine(day, time(), zone).astimezone(UTC)
    # Where clocks skip midnight, the date begins as they do so.
    while (moment - QUARTER).astimezone(zone).date() >= day:
        moment -= QUARTER
    return moment


def _moment(
    parameter: str, given: datetime | date, zone: ZoneInfo, after: timedelta = timedelta()
) -> datetime:
    if given.year not in _YEARS:
        raise Invalid.parameter(parameter, f"Must be within the years {_YEARS[0]} to {_YEARS[-1]}.")
    return given.astimezone(UTC) if isinstance(given, datetime) else start_of(given + after, zone)


def _floor(moment: datetime) -> datetime:
    return (moment - _EPOCH) // QUARTER * QUARTER + _EPOCH


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())
