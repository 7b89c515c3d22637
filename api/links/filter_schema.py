"""The parameters by which links are chosen, for lists and for whatever else is about several."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import validate

from api.core.schemas import EXAMPLE_TIME, Schema, UtcTime

STATES = ("active", "disabled", "scheduled", "expired", "exhausted")


class LinkFilterIn(Schema):
    """Which links: those that are all of this."""

    q = ma.fields.String(
        load_default=None,
        validate=validate.Length(1, 200),
        metadata={"description": "Words that begin words of slug, title or URL; all must occur."},
    )
    tag = ma.fields.String(load_default=None, validate=validate.Length(1, 50))
    domain = ma.fields.String(load_default=None, validate=validate.Length(1, 253))
    state = ma.fields.String(load_default=None, validate=validate.OneOf(STATES))
    created_after = UtcTime(
        load_default=None, metadata={"description": "Inclusive.", "example": EXAMPLE_TIME}
    )
    created_before = UtcTime(
        load_default=None, metadata={"description": "Exclusive.", "example": EXAMPLE_TIME}
    )
