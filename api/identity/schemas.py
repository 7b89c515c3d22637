"""What comes in and goes out about workspaces and API keys."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import validate

from api.core.database.sessions import AnyRow
from api.core.principal import SCOPES
from api.core.schemas import (
    EXAMPLE_TIME,
    Id,
    PageQuery,
    Schema,
    StrictBoolean,
    StrictInteger,
    UtcTime,
    page_of,
)

NAME_RULE = validate.And(
    validate.Length(1, 200), validate.Regexp(r"\s*\S", error="Must not be only white space.")
)


class WorkspaceOut(Schema):
    id = Id(required=True)
    name = ma.fields.String(required=True, metadata={"example": "Acme"})
    reuse_deleted_slugs = ma.fields.Boolean(
        required=True,
        metadata={
            "description": "Whether a deleted link's slug may be used again.",
            "example": False,
        },
    )
    click_retention_days = ma.fields.Integer(
        required=True,
        allow_none=True,
        metadata={
            "description": "Days for which raw clicks are kept; null: as the installation says.",
            "example": 90,
        },
    )
    created_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})
    updated_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})


class WorkspaceIn(Schema):
    name = ma.fields.String(required=True, validate=NAME_RULE, metadata={"example": "Acme"})
    key_name = ma.fields.String(
        load_default=None,
        allow_none=True,
        validate=NAME_RULE,
        metadata={
            "description": "Also make an API key of this name, with the scopes of the credential "
            "that makes the workspace.",
            "example": "First key",
        },
    )


class NewWorkspaceOut(WorkspaceOut):
    key = ma.fields.String(
        metadata={
            "description": "The key, where one was asked for, shown this once.",
            "example": "sp_live_x8Tq2aVn0yXb7TzQm3c5k9LrWd1uHs4JpEf6GoBiNtY",
        },
    )


class WorkspacePatch(Schema):
    name = ma.fields.String(validate=NAME_RULE, metadata={"example": "Acme"})
    reuse_deleted_slugs = StrictBoolean(metadata={"example": True})
    click_retention_days = StrictInteger(
        allow_none=True,
        validate=validate.Range(1, 36_500),
        metadata={
            "description": "Days for which raw clicks are kept; null: as the installation says. "
            "Older ones are deleted for good, within a day.",
            "example": 90,
        },
    )


class ApiKeyIn(Schema):
    name = ma.fields.String(required=True, validate=NAME_RULE, metadata={"example": "CI"})
    scopes = ma.fields.List(
        ma.fields.String(validate=validate.OneOf(tuple(SCOPES))),
        load_default=lambda: list(SCOPES),
        validate=validate.Length(1, len(SCOPES)),
        metadata={"description": "What the key may do; default: all.", "example": ["links:read"]},
    )
    expires_at = UtcTime(
        load_default=None,
        allow_none=True,
        metadata={"description": "From then on the key is refused.", "example": None},
    )


class ApiKeyOut(Schema):
    id = Id(required=True)
    user_id = Id(
        required=True,
        allow_none=True,
        metadata={
            "description": "Whose it is: it never gives more than this user may do at the time. "
            "Null: of the workspace itself.",
            "example": None,
        },
    )
    name = ma.fields.String(required=True, metadata={"example": "CI"})
    prefix = ma.fields.String(required=True, metadata={"example": "sp_live_x8Tq2a"})
    scopes = ma.fields.List(ma.fields.String(), required=True, metadata={"example": ["links:read"]})
    created_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})
    expires_at = UtcTime(required=True, allow_none=True, metadata={"example": None})
    last_used_at = UtcTime(
        required=True,
        allow_none=True,
        metadata={"description": "To the minute.", "example": EXAMPLE_TIME},
    )
    revoked_at = UtcTime(required=True, allow_none=True, metadata={"example": None})


class NewApiKeyOut(ApiKeyOut):
    key = ma.fields.String(
        required=True,
        metadata={
            "description": "The key itself, shown this once.",
            "example": "sp_live_x8Tq2aVn0yXb7TzQm3c5k9LrWd1uHs4JpEf6GoBiNtY",
        },
    )


KEY_IN = ApiKeyIn()
KEY_PAGE = page_of(ApiKeyOut)
PAGE_QUERY = PageQuery()
WORKSPACE_IN = WorkspaceIn()
WORKSPACE_PAGE = page_of(WorkspaceOut)
WORKSPACE_PATCH = WorkspacePatch()


def present_workspace(row: AnyRow) -> dict[str, Any]:
    """A workspace as `WorkspaceOut`."""
    return row._asdict() | {"id": str(row.id)}


def present_key(row: AnyRow) -> dict[str, Any]:
    """A key as `ApiKeyOut`."""
    owner = None if row.user_id is None else str(row.user_id)
    return row._asdict() | {"id": str(row.id), "user_id": owner}
