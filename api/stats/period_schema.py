"""The parameters of every question about a period."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import marshmallow as ma
from marshmallow import validate

from api.core.schemas import Schema, UtcTime
from api.stats.periods import INTERVALS, MAX_BUCKETS

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = UtcTime()


class Moment(ma.fields.String):
    """A moment in RFC 3339, or a date for a midnight of the time zone that is named beside it."""

    def __init__(self, description: str, example: str, **kwargs: Any) -> None:
        forms = [{"format": "date-time"}, {"format": "date"}]
        metadata = {"description": description, "example": example, "anyOf": forms}
        super().__init__(metadata=metadata, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            return date.fromisoformat(text) if _DATE.fullmatch(text) else _TIME.deserialize(text)
        except (ValueError, ma.ValidationError):
            raise ma.ValidationError(
                "Neither a date nor a time with its offset, such as 2026-03-01T09:30:00Z "
                "(a `+` in a query is written %2B)."
            ) from None


class PeriodIn(Schema):
    """A period and the buckets that it is divided into."""

    start = Moment(
        "First moment, inclusive, or a date: its midnight in `timezone`. Widened outwards to a "
        "whole quarter of an hour. Default: 30 days before `to`.",
        "2026-03-01",
        data_key="from",
    )
    end = Moment(
        "Last moment, exclusive, or a date: the whole of that day. Widened outwards to a whole "
        "quarter of an hour. Default: now.",
        "2026-03-31",
        data_key="to",
    )
    interval = ma.fields.String(
        load_default="day",
        validate=validate.OneOf(INTERVALS),
        metadata={
            "description": "Length of a bucket of `series`, in local time: a day may have 23 or "
            f"25 hours, a week begins on Monday. At most {MAX_BUCKETS:,} buckets.",
            "example": "day",
        },
    )
    timezone = ma.fields.String(
        load_default="UTC",
        validate=validate.Length(1, 64),
        metadata={
            "description": "IANA name of the time zone of dates and buckets.",
            "example": "Europe/Berlin",
        },
    )
