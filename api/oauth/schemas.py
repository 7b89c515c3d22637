"""What comes in and goes out about OAuth clients."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import validate

from api.core.database.sessions import AnyRow
from api.core.principal import SCOPES
from api.core.schemas import EXAMPLE_TIME, Id, PageQuery, Schema, UtcTime, page_of
from api.oauth.clients import CODE, GRANT_TYPES, REFRESH

_name = validate.And(
    validate.Length(1, 200), validate.Regexp(r"\s*\S", error="Must not be only white space.")
)
_EXAMPLE_URI = "https://app.example.com/callback"


def _uris(**kwargs: Any) -> ma.fields.Field[Any]:
    return ma.fields.List(
        ma.fields.String(validate=validate.Length(1, 2_000)),
        validate=validate.Length(0, 20),
        metadata={
            "description": "Where people are sent back to, compared character by character.",
            "example": [_EXAMPLE_URI],
        },
        **kwargs,
    )


def _grants(**kwargs: Any) -> ma.fields.Field[Any]:
    return ma.fields.List(
        ma.fields.String(validate=validate.OneOf(GRANT_TYPES)),
        validate=validate.Length(1, len(GRANT_TYPES)),
        metadata={"description": "How it gets tokens.", "example": [CODE, REFRESH]},
        **kwargs,
    )


def _scopes(**kwargs: Any) -> ma.fields.Field[Any]:
    return ma.fields.List(
        ma.fields.String(validate=validate.OneOf(tuple(SCOPES))),
        validate=validate.Length(1, len(SCOPES)),
        metadata={"description": "What its tokens may do at most.", "example": ["links:read"]},
        **kwargs,
    )


class OAuthClientIn(Schema):
    name = ma.fields.String(required=True, validate=_name, metadata={"example": "Newsletter"})
    client_type = ma.fields.String(
        load_default="confidential",
        validate=validate.OneOf(("confidential", "public")),
        metadata={
            "description": "`public` for what cannot keep a secret, as apps and pages cannot.",
            "example": "confidential",
        },
    )
    redirect_uris = _uris(load_default=list)
    grant_types = _grants(required=True)
    scopes = _scopes(required=True)


class OAuthClientPatch(Schema):
    name = ma.fields.String(validate=_name, metadata={"example": "Newsletter"})
    redirect_uris = _uris()
    grant_types = _grants()
    scopes = _scopes()


class OAuthClientOut(Schema):
    id = Id(required=True)
    client_id = ma.fields.String(
        required=True, metadata={"example": "sp_client_V4oXq0y3mW8rT1kZcN6b2g"}
    )
    name = ma.fields.String(required=True, metadata={"example": "Newsletter"})
    client_type = ma.fields.String(required=True, metadata={"example": "confidential"})
    redirect_uris = _uris(required=True)
    grant_types = _grants(required=True)
    scopes = _scopes(required=True)
    created_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})
    updated_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})


class NewOAuthClientOut(OAuthClientOut):
    client_secret = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "The secret, shown this once; null for a public client.",
            "example": "sp_secret_x8Tq2aVn0yXb7TzQm3c5k9LrWd1uHs4JpEf6GoBiNtY",
        },
    )


CLIENT_IN = OAuthClientIn()
CLIENT_PATCH = OAuthClientPatch()
CLIENT_PAGE = page_of(OAuthClientOut)
PAGE_QUERY = PageQuery()


def present_client(row: AnyRow) -> dict[str, Any]:
    """A client as `OAuthClientOut`."""
    client_type = "confidential" if row.confidential else "public"
    return {
        "id": str(row.id),
        "client_id": row.client_id,
        "name": row.name,
        "client_type": client_type,
        "redirect_uris": row.redirect_uris,
        "grant_types": row.grant_types,
        "scopes": row.scopes,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
