"""What comes in and goes out about members and invitations."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import validate

from api.core.database.sessions import AnyRow
from api.core.passwords import MAX_PASSWORD_LENGTH
from api.core.principal import ROLES
from api.core.schemas import EXAMPLE_TIME, Id, PageQuery, Schema, UtcTime, page_of
from api.identity.addresses import MAX_LENGTH
from api.identity.invitations import Accepted
from api.identity.schemas import NAME_RULE

EXAMPLE_EMAIL = "ann@example.com"
_ROLES = (
    "`owner`: everything; `editor`: links, statistics and transfers; `viewer`: reads links and "
    "statistics."
)


def name_field(**kwargs: Any) -> ma.fields.String:
    """The name of a person."""
    return ma.fields.String(validate=NAME_RULE, metadata={"example": "Ann Example"}, **kwargs)


def password_field(**kwargs: Any) -> ma.fields.String:
    """A password; whether a new one is good enough is the service's to say."""
    return ma.fields.String(
        validate=validate.Length(1, MAX_PASSWORD_LENGTH),
        metadata={"example": "seven quiet ferries at noon"},
        **kwargs,
    )


def _role_field(**kwargs: Any) -> ma.fields.String:
    return ma.fields.String(
        required=True, metadata={"description": _ROLES, "example": "editor"}, **kwargs
    )


class MemberOut(Schema):
    user_id = Id(required=True)
    email = ma.fields.String(required=True, metadata={"example": EXAMPLE_EMAIL})
    name = ma.fields.String(required=True, metadata={"example": "Ann Example"})
    role = _role_field()
    disabled_at = UtcTime(
        required=True,
        allow_none=True,
        metadata={"description": "Since then the user may do nothing.", "example": None},
    )
    created_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})
    updated_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})


class MemberPatch(Schema):
    role = _role_field(validate=validate.OneOf(tuple(ROLES)))


class InvitationIn(Schema):
    email = ma.fields.String(
        required=True,
        validate=validate.Length(3, MAX_LENGTH),
        metadata={"example": EXAMPLE_EMAIL},
    )
    role = _role_field(validate=validate.OneOf(tuple(ROLES)))
    expires_at = UtcTime(
        load_default=None,
        allow_none=True,
        metadata={"description": "Default: in 7 days; at most 90.", "example": None},
    )


class InvitationOut(Schema):
    id = Id(required=True)
    email = ma.fields.String(required=True, metadata={"example": EXAMPLE_EMAIL})
    role = _role_field()
    invited_by = Id(
        required=True,
        allow_none=True,
        metadata={"description": "The user who did; null: a key of the workspace itself."},
    )
    created_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})
    expires_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})
    accepted_at = UtcTime(required=True, allow_none=True, metadata={"example": None})
    revoked_at = UtcTime(required=True, allow_none=True, metadata={"example": None})


class NewInvitationOut(InvitationOut):
    token = ma.fields.String(
        required=True,
        metadata={
            "description": "What the invited sends to accept, shown this once.",
            "example": "sp_invite_x8Tq2aVn0yXb7TzQm3c5k9LrWd1uHs4JpEf6GoBiNtY",
        },
    )


class AcceptIn(Schema):
    token = ma.fields.String(
        required=True,
        validate=validate.Length(1, 200),
        metadata={"example": "sp_invite_x8Tq2aVn0yXb7TzQm3c5k9LrWd1uHs4JpEf6GoBiNtY"},
    )
    name = name_field(load_default=None)
    password = password_field(required=True)


class AcceptedOut(Schema):
    user_id = Id(required=True)
    email = ma.fields.String(required=True, metadata={"example": EXAMPLE_EMAIL})
    workspace_id = Id(required=True)
    workspace_name = ma.fields.String(required=True, metadata={"example": "Acme"})
    role = _role_field()


ACCEPT_IN = AcceptIn()
INVITATION_IN = InvitationIn()
INVITATION_PAGE = page_of(InvitationOut)
MEMBER_PAGE = page_of(MemberOut)
MEMBER_PATCH = MemberPatch()
PAGE_QUERY = PageQuery()


def present_member(row: AnyRow) -> dict[str, Any]:
    """A member as `MemberOut`."""
    return row._asdict() | {"user_id": str(row.user_id)}


def present_invitation(row: AnyRow) -> dict[str, Any]:
    """An invitation as `InvitationOut`."""
    by = None if row.invited_by is None else str(row.invited_by)
    return row._asdict() | {"id": str(row.id), "invited_by": by}


def present_accepted(accepted: Accepted) -> dict[str, Any]:
    """A new membership as `AcceptedOut`."""
    return {
        "user_id": str(accepted.user.id),
        "email": accepted.user.email,
        "workspace_id": str(accepted.workspace_id),
        "workspace_name": accepted.workspace_name,
        "role": accepted.role,
    }
