"""What comes in and goes out about statistics."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import marshmallow as ma
from marshmallow import validate

from api.core.schemas import Schema, UtcTime
from api.stats.period_schema import PeriodIn
from api.stats.service import BOTS, DEFAULT_GROUPS, GROUPINGS, MAX_GROUPS, Stats
from api.stats.tallies import Tally
from api.stats.values import MAX_VALUES, OTHER

_VISITORS = (
    "Different visitors: exact for few, estimated within 2 % for many, and within 4 % in a group. "
    "The hash that tells them apart changes every day: "
    "over several days a person counts once for each day on which they came."
)


class StatsQueryIn(PeriodIn):
    """The parameters of every question about clicks."""

    group_by = ma.fields.String(
        validate=validate.OneOf(GROUPINGS),
        metadata={"description": "Also answer `groups`, by this.", "example": "country"},
    )
    bots = ma.fields.String(
        load_default="exclude",
        validate=validate.OneOf(tuple(BOTS)),
        metadata={
            "description": "Whether programs that are known as such are counted.",
            "example": "exclude",
        },
    )
    limit = ma.fields.Integer(
        load_default=DEFAULT_GROUPS,
        validate=validate.Range(1, MAX_GROUPS),
        metadata={
            "description": f"Most groups; all further ones are one last group, `{OTHER}`. Of each "
            f"quarter of an hour and each day only the {MAX_VALUES} values with the most clicks "
            "are kept; the others are in that group, too.",
            "example": DEFAULT_GROUPS,
        },
    )


class WorkspaceStatsQueryIn(StatsQueryIn):
    """The parameters of a question about all links of a workspace, or some."""

    domain = ma.fields.String(
        validate=validate.Length(1, 253),
        metadata={"description": "Only links on this domain.", "example": "go.example.com"},
    )
    tag = ma.fields.String(
        validate=validate.Length(1, 200),
        metadata={
            "description": "Only clicks on links that had this tag when they were clicked.",
            "example": "spring",
        },
    )


class TallyOut(Schema):
    """Clicks and visitors."""

    clicks = ma.fields.Integer(required=True, metadata={"example": 1204})
    visitors = ma.fields.Integer(required=True, metadata={"description": _VISITORS, "example": 877})


class BucketOut(TallyOut):
    """One bucket of the series; one without clicks is there too."""

    start = UtcTime(
        required=True,
        metadata={
            "description": "When the local hour, day, week or month began; the first may have "
            "begun before `from`, but counts from there on.",
            "example": "2026-02-28T23:00:00Z",
        },
    )


class GroupOut(TallyOut):
    """The clicks that share a value."""

    value = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": f"Null where clicks do not tell; `{OTHER}`, at the end, for the rest.",
            "example": "DE",
        },
    )


class StatsOut(Schema):
    """An answer; its series and its groups each add up to the clicks of its total."""

    start = UtcTime(
        data_key="from",
        required=True,
        metadata={"description": "As it was counted.", "example": "2026-02-28T23:00:00Z"},
    )
    end = UtcTime(
        data_key="to",
        required=True,
        metadata={"description": "As it was counted.", "example": "2026-03-31T22:00:00Z"},
    )
    interval = ma.fields.String(required=True, metadata={"example": "day"})
    timezone = ma.fields.String(required=True, metadata={"example": "Europe/Berlin"})
    total = ma.fields.Nested(TallyOut, required=True)
    series = ma.fields.List(ma.fields.Nested(BucketOut), required=True)
    groups = ma.fields.List(
        ma.fields.Nested(GroupOut),
        metadata={"description": "Most clicks first; only with `group_by`."},
    )


STATS_QUERY = StatsQueryIn()
WORKSPACE_STATS_QUERY = WorkspaceStatsQueryIn()


def present_stats(stats: Stats, query: dict[str, Any]) -> dict[str, Any]:
    """An answer as `StatsOut`."""
    answer: dict[str, Any] = {
        "from": stats.period.start,
        "to": stats.period.end,
        "interval": query["interval"],
        "timezone": query["timezone"],
        "total": _present_tally(stats.total),
        "series": [_present_bucket(start, tally) for start, tally in stats.series],
    }
    if stats.groups is not None:
        answer["groups"] = [
            {"value": value or None} | _present_tally(tally) for value, tally in stats.groups
        ]
    return answer


def _present_bucket(start: datetime, tally: Tally) -> dict[str, Any]:
    return {"start": start} | _present_tally(tally)


def _present_tally(tally: Tally) -> dict[str, Any]:
    return {"clicks": tally.clicks, "visitors": tally.visitors}
