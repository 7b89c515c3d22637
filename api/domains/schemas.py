"""What comes in and goes out about domains."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import validate

from api.core.database.sessions import AnyRow
from api.core.schemas import EXAMPLE_TIME, Id, PageQuery, Schema, UtcTime, page_of


class DomainIn(Schema):
    host = ma.fields.String(
        required=True,
        validate=validate.Length(1, 253),
        metadata={"description": "The host name, without a port.", "example": "go.example.com"},
    )


class DomainOut(Schema):
    id = Id(required=True)
    host = ma.fields.String(required=True, metadata={"example": "go.example.com"})
    created_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})


DOMAIN_IN = DomainIn()
DOMAIN_PAGE = page_of(DomainOut)
PAGE_QUERY = PageQuery()


def present_domain(row: AnyRow) -> dict[str, Any]:
    """A domain as `DomainOut`."""
    return row._asdict() | {"id": str(row.id)}
