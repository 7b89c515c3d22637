"""What comes in and goes out about block rules."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import validate

from api.core.database.sessions import AnyRow
from api.core.schemas import EXAMPLE_TIME, Id, PageQuery, Schema, StrictInteger, UtcTime, page_of
from api.targets.rules import HOST, KINDS, MAX_PATTERN, MAX_REASON, STATUSES

_KIND = {
    "description": "`host`: with all its subdomains; `pattern`: of the whole address, `*` stands "
    "for any characters.",
    "example": HOST,
}
_VALUE = {
    "description": "The host, or the pattern; case does not matter.",
    "example": "phishing.example",
}
_STATUS = {
    "description": "What links that lead there answer: 451 (RFC 7725) or 410.",
    "example": 451,
}
_REASON = {
    "description": "Told to those who make such a link, and to its visitors.",
    "example": "Phishing",
}


class BlockedTargetIn(Schema):
    kind = ma.fields.String(required=True, validate=validate.OneOf(KINDS), metadata=_KIND)
    value = ma.fields.String(
        required=True, validate=validate.Length(1, MAX_PATTERN), metadata=_VALUE
    )
    status = StrictInteger(load_default=451, validate=validate.OneOf(STATUSES), metadata=_STATUS)
    reason = ma.fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, MAX_REASON),
        metadata=_REASON,
    )


class BlockedTargetOut(Schema):
    id = Id(required=True)
    kind = ma.fields.String(required=True, metadata=_KIND)
    value = ma.fields.String(required=True, metadata=_VALUE)
    status = ma.fields.Integer(required=True, metadata=_STATUS)
    reason = ma.fields.String(required=True, allow_none=True, metadata=_REASON)
    created_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})


BLOCKED_TARGET_IN = BlockedTargetIn()
BLOCKED_TARGET_PAGE = page_of(BlockedTargetOut)
PAGE_QUERY = PageQuery()


def present_rule(row: AnyRow) -> dict[str, Any]:
    """A rule as `BlockedTargetOut`."""
    return row._asdict() | {"id": str(row.id)}
