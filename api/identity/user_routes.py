"""`/users/me`."""

from __future__ import annotations

from typing import Any, cast

from flask import Response

from api.core.answers import json_response
from api.core.http import MERGE_PATCH, Blueprint, principal
from api.core.registry import service
from api.core.requests import request_address
from api.identity.members import MemberService
from api.identity.user_schemas import USER_PATCH, UserOut, present_user
from api.identity.users import UserService

blueprint = Blueprint("users", __name__, description="The user behind the credential")


def _me() -> int:
    return cast(int, principal().user_id)


@blueprint.route("/users/me")
@blueprint.user
@blueprint.answers(200, UserOut)
def get_me() -> Response:
    """Read the user whose credential this is, and where they are a member"""
    row = service(UserService).get_user(_me())
    return json_response(present_user(row, service(MemberService).find_memberships(_me())))


@blueprint.route("/users/me", methods=["PATCH"])
@blueprint.user
@blueprint.takes_body(USER_PATCH, media_types=(MERGE_PATCH,))
@blueprint.audited("user.update")
@blueprint.answers(200, UserOut)
@blueprint.fails(429)
def update_me(body: dict[str, Any]) -> Response:
    """Change the user's own name or password, with the present password

    A new password ends the sessions of browsers; keys and tokens go on.
    """
    row = service(UserService).change_user(_me(), **body, address=request_address())
    return json_response(present_user(row, service(MemberService).find_memberships(_me())))
