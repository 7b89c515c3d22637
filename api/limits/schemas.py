"""What goes out about plans and usage."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from api.core.schemas import Schema, UtcTime
from api.limits.service import Usage


class UsageLimitOut(Schema):
    policy = ma.fields.String(
        required=True,
        metadata={
            "description": "`reads` and `writes`: requests of this credential within a minute; "
            "`calls`: requests of the workspace today (UTC); `links`: links that the workspace "
            "made this month (UTC).",
            "example": "links",
        },
    )
    limit = ma.fields.Integer(required=True, metadata={"example": 100})
    used = ma.fields.Integer(required=True, metadata={"example": 3})
    remaining = ma.fields.Integer(required=True, metadata={"example": 97})
    resets_at = UtcTime(required=True, metadata={"example": "2026-04-01T00:00:00Z"})


class UsageOut(Schema):
    plan = ma.fields.String(required=True, metadata={"example": "free"})
    limits = ma.fields.List(
        ma.fields.Nested(UsageLimitOut),
        required=True,
        metadata={"description": "What the plan limits; what is not here has no limit."},
    )


def present_usage(plan: str, limits: list[Usage]) -> dict[str, Any]:
    """A plan and its usage as `UsageOut`."""
    return {
        "plan": plan,
        "limits": [
            {
                "policy": each.policy,
                "limit": each.limit,
                "used": each.used,
                "remaining": max(0, each.limit - each.used),
                "resets_at": each.resets_at,
            }
            for each in limits
        ],
    }
