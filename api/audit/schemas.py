"""What comes in and goes out about the audit log."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import validate

from api.core.database.sessions import AnyRow
from api.core.schemas import EXAMPLE_ID, EXAMPLE_TIME, Id, PageQuery, Schema, UtcTime, page_of

_ACTION = validate.Regexp(r"^[a-z_]+\.[a-z_]+$", error="Not of the form thing.verb.")
_THING = validate.Regexp(r"^[a-z_]+:[!-~]{1,100}$", error="Not of the form kind:id.")


class ThingName(ma.fields.String):
    """`kind:id`, as a pair."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=_THING, **kwargs)

    def deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super().deserialize(value, *args, **kwargs)
        if text is None:
            return None
        kind, _, identifier = text.partition(":")
        return kind, identifier


class EventQuery(PageQuery):
    """The parameters of the list."""

    actor = ThingName(
        load_default=None,
        metadata={
            "description": "Only what this user, key or client did: `user:ID`, `key:ID`, "
            "`client:ID`. What a user does through a key or a client is the user's.",
            "example": f"user:{EXAMPLE_ID}",
        },
    )
    action = ma.fields.String(
        load_default=None,
        validate=_ACTION,
        metadata={"description": "Only this action.", "example": "link.update"},
    )
    target = ThingName(
        load_default=None,
        metadata={
            "description": "Only what was done to this thing.",
            "example": f"link:{EXAMPLE_ID}",
        },
    )
    after = UtcTime(
        load_default=None,
        metadata={"description": "At this moment or later.", "example": EXAMPLE_TIME},
    )
    before = UtcTime(
        load_default=None,
        metadata={"description": "Before this moment.", "example": "2027-01-01T00:00:00Z"},
    )


class ActorOut(Schema):
    kind = ma.fields.String(
        required=True,
        metadata={
            "description": "`user`, `key` (of the workspace itself), `client`, `operator` (a "
            "script) or `nobody` (who is not known).",
            "example": "user",
        },
    )
    id = ma.fields.String(required=True, allow_none=True, metadata={"example": EXAMPLE_ID})
    name = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "As it was then.", "example": "ann@example.com"},
    )


class ThingOut(Schema):
    kind = ma.fields.String(required=True, metadata={"example": "link"})
    id = ma.fields.String(required=True, allow_none=True, metadata={"example": EXAMPLE_ID})


class EventOut(Schema):
    """Something that was done."""

    id = Id(required=True)
    at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})
    action = ma.fields.String(required=True, metadata={"example": "link.update"})
    actor = ma.fields.Nested(ActorOut, required=True)
    via = ma.fields.Nested(
        ThingOut,
        required=True,
        allow_none=True,
        metadata={"description": "The key or the client through which a user did it."},
    )
    target = ma.fields.Nested(ThingOut, required=True, allow_none=True)
    address = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "From where.", "example": "203.0.113.7"},
    )
    request_id = ma.fields.String(
        required=True, allow_none=True, metadata={"example": "8f14e45fceea467a9d3b0e5a8a1c2b3d"}
    )
    details = ma.fields.Dict(
        keys=ma.fields.String(),
        required=True,
        metadata={"description": "What else is known.", "example": {"fields": ["url"]}},
    )


EVENT_PAGE = page_of(EventOut)
EVENT_QUERY = EventQuery()


def present_event(row: AnyRow) -> dict[str, Any]:
    """An event as `EventOut`."""
    return {
        "id": str(row.id),
        "at": row.at,
        "action": row.action,
        "actor": {"kind": row.actor_kind, "id": row.actor_id, "name": row.actor_name},
        "via": _thing(row.via_kind, row.via_id),
        "target": _thing(row.target_kind, row.target_id),
        "address": row.address,
        "request_id": row.request_id,
        "details": row.details,
    }


def _thing(kind: str | None, identifier: str | None) -> dict[str, Any] | None:
    return None if kind is None else {"kind": kind, "id": identifier}
