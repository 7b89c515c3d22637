"""What comes in and goes out about visits that no link answered."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import validate

from api.core.schemas import Schema, UtcTime
from api.orphans.service import KINDS, MAX_GROUPS, Orphans
from api.stats.period_schema import PeriodIn

_KINDS = (
    "`unknown`: there is no such slug; `gone`: the link has expired, is used up or was deleted; "
    "`inactive`: the link is disabled or has not started; `root`: the address without a slug."
)
_HOST = (
    "As visitors asked for it: a domain of the workspace, or the default one. Empty for hosts that "
    "nobody has claimed."
)


class OrphansQueryIn(PeriodIn):
    """The parameters of a question about visits without a link."""

    kind = ma.fields.String(
        validate=validate.OneOf(tuple(KINDS)),
        metadata={"description": f"Only visits of this kind. {_KINDS}", "example": "unknown"},
    )
    host = ma.fields.String(
        validate=validate.Length(0, 253),
        metadata={"description": f"Only visits at this host. {_HOST}", "example": "go.example.com"},
    )


class VisitsOut(Schema):
    """How many visits."""

    visits = ma.fields.Integer(required=True, metadata={"example": 1204})


class OrphansBucketOut(VisitsOut):
    """One bucket of the series; one without visits is there too."""

    start = UtcTime(
        required=True,
        metadata={
            "description": "When the local hour, day, week or month began; the first may have "
            "begun before `from`, but counts from there on.",
            "example": "2026-02-28T23:00:00Z",
        },
    )


class OrphansGroupOut(VisitsOut):
    """The visits of one kind at one host."""

    kind = ma.fields.String(required=True, metadata={"description": _KINDS, "example": "unknown"})
    host = ma.fields.String(
        required=True, metadata={"description": _HOST, "example": "go.example.com"}
    )


class OrphansOut(Schema):
    """An answer; its series adds up to its total, and so do its groups where they are all there."""

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
    total = ma.fields.Nested(VisitsOut, required=True)
    series = ma.fields.List(ma.fields.Nested(OrphansBucketOut), required=True)
    groups = ma.fields.List(
        ma.fields.Nested(OrphansGroupOut),
        required=True,
        metadata={"description": f"Most visits first, at most {MAX_GROUPS}."},
    )


ORPHANS_QUERY = OrphansQueryIn()


def present_orphans(orphans: Orphans, query: dict[str, Any]) -> dict[str, Any]:
    """An answer as `OrphansOut`."""
    return {
        "from": orphans.period.start,
        "to": orphans.period.end,
        "interval": query["interval"],
        "timezone": query["timezone"],
        "total": {"visits": orphans.total},
        "series": [{"start": start, "visits": visits} for start, visits in orphans.series],
        "groups": [
            {"kind": kind, "host": host, "visits": visits} for kind, host, visits in orphans.groups
        ],
    }
