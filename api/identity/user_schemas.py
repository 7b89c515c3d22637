"""What comes in and goes out about the caller's user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import marshmallow as ma

from api.core.database.sessions import AnyRow
from api.core.schemas import EXAMPLE_TIME, Id, Schema, UtcTime
from api.identity.member_schemas import EXAMPLE_EMAIL, name_field, password_field


class MembershipOut(Schema):
    """A workspace of the user, and what they are there."""

    workspace_id = Id(required=True)
    workspace_name = ma.fields.String(required=True, metadata={"example": "Acme"})
    role = ma.fields.String(required=True, metadata={"example": "owner"})


class UserOut(Schema):
    id = Id(required=True)
    email = ma.fields.String(required=True, metadata={"example": EXAMPLE_EMAIL})
    name = ma.fields.String(required=True, metadata={"example": "Ann Example"})
    has_password = ma.fields.Boolean(
        required=True,
        metadata={"description": "False: signs in elsewhere only.", "example": True},
    )
    memberships = ma.fields.List(ma.fields.Nested(MembershipOut), required=True)
    created_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})
    updated_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})


class UserPatch(Schema):
    current_password = password_field(required=True)
    name = name_field()
    password = password_field()


USER_PATCH = UserPatch()


def present_user(row: AnyRow, memberships: Sequence[tuple[int, str, str]]) -> dict[str, Any]:
    """A user as `UserOut`."""
    return {
        "id": str(row.id),
        "email": row.email,
        "name": row.name,
        "has_password": row.has_password,
        "memberships": [
            {"workspace_id": str(workspace), "workspace_name": name, "role": role}
            for workspace, name, role in memberships
        ],
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
