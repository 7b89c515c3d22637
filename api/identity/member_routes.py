"""`/members` and `/invitations`."""

from __future__ import annotations

from typing import Any

from flask import Response

from api.core.answers import json_response
from api.core.http import MERGE_PATCH, Blueprint, page_response, principal
from api.core.registry import service
from api.core.requests import request_address
from api.identity.invitations import InvitationService
from api.identity.member_schemas import (
    ACCEPT_IN,
    INVITATION_IN,
    INVITATION_PAGE,
    MEMBER_PAGE,
    MEMBER_PATCH,
    PAGE_QUERY,
    AcceptedOut,
    InvitationOut,
    MemberOut,
    NewInvitationOut,
    present_accepted,
    present_invitation,
    present_member,
)
from api.identity.members import MemberService

blueprint = Blueprint("members", __name__, description="Who may do what in the workspace")


def _members() -> MemberService:
    return service(MemberService)


def _invitations() -> InvitationService:
    return service(InvitationService)


@blueprint.route("/members")
@blueprint.scope("workspace:admin")
@blueprint.takes_query(PAGE_QUERY)
@blueprint.answers(200, MEMBER_PAGE, headers=("Link",))
def list_members(query: dict[str, Any]) -> Response:
    """List the members of the workspace"""
    rows, cursor = _members().list_members(principal().workspace_id, **query)
    return page_response([present_member(row) for row in rows], cursor)


@blueprint.route("/members/<id:user_id>")
@blueprint.scope("workspace:admin")
@blueprint.answers(200, MemberOut)
@blueprint.fails(404)
def get_member(user_id: int) -> Response:
    """Read one member"""
    return json_response(present_member(_members().get_member(principal().workspace_id, user_id)))


@blueprint.route("/members/<id:user_id>", methods=["PATCH"])
@blueprint.scope("workspace:admin")
@blueprint.takes_body(MEMBER_PATCH, media_types=(MERGE_PATCH,))
@blueprint.audited("member.update", tell=("role",))
@blueprint.answers(200, MemberOut)
@blueprint.fails(404, 409)
def update_member(user_id: int, body: dict[str, Any]) -> Response:
    """Give a member another role; their keys and tokens follow at once"""
    row = _members().change_role(principal().workspace_id, user_id, body["role"], principal())
    return json_response(present_member(row))


@blueprint.route("/members/<id:user_id>", methods=["DELETE"])
@blueprint.scope("workspace:admin")
@blueprint.audited("member.remove")
@blueprint.answers(204)
@blueprint.fails(404, 409)
def remove_member(user_id: int) -> Response:
    """End a membership, with the keys that the user has for the workspace"""
    _members().remove_member(principal().workspace_id, user_id)
    return Response(status=204)


@blueprint.route("/invitations", methods=["POST"])
@blueprint.scope("workspace:admin")
@blueprint.takes_body(INVITATION_IN)
@blueprint.audited("invitation.create", tell=("email", "role"))
@blueprint.answers(201, NewInvitationOut, headers=("Location",))
@blueprint.fails(409)
def create_invitation(body: dict[str, Any]) -> Response:
    """Invite somebody; the answer is the only one that shows the token

    How it reaches the invited is up to the caller. An open invitation for the same address ends.
    """
    row, token = _invitations().create_invitation(
        principal().workspace_id, **body, invited_by=principal()
    )
    headers = {"Location": f"/api/v1/invitations/{row.id}", "Cache-Control": "no-store"}
    return json_response(present_invitation(row) | {"token": token}, 201, headers)


@blueprint.route("/invitations")
@blueprint.scope("workspace:admin")
@blueprint.takes_query(PAGE_QUERY)
@blueprint.answers(200, INVITATION_PAGE, headers=("Link",))
def list_invitations(query: dict[str, Any]) -> Response:
    """List the invitations, newest first"""
    rows, cursor = _invitations().list_invitations(principal().workspace_id, **query)
    return page_response([present_invitation(row) for row in rows], cursor)


@blueprint.route("/invitations/<id:invitation_id>")
@blueprint.scope("workspace:admin")
@blueprint.answers(200, InvitationOut)
@blueprint.fails(404)
def get_invitation(invitation_id: int) -> Response:
    """Read one invitation, without its token"""
    row = _invitations().get_invitation(principal().workspace_id, invitation_id)
    return json_response(present_invitation(row))


@blueprint.route("/invitations/<id:invitation_id>", methods=["DELETE"])
@blueprint.scope("workspace:admin")
@blueprint.audited("invitation.revoke")
@blueprint.answers(204)
@blueprint.fails(404)
def revoke_invitation(invitation_id: int) -> Response:
    """Revoke an invitation; one that was accepted stays accepted"""
    _invitations().revoke_invitation(principal().workspace_id, invitation_id)
    return Response(status=204)


@blueprint.route("/invitations/accept", methods=["POST"])
@blueprint.public
@blueprint.takes_body(ACCEPT_IN)
@blueprint.answers(200, AcceptedOut)
@blueprint.fails(403, 404, 409, 410, 429)
def accept_invitation(body: dict[str, Any]) -> Response:
    """Become a member: with the password of the user who has the address, or as a new user

    A new user sets `name` and `password`.
    """
    accepted = _invitations().accept_invitation(**body, address=request_address())
    return json_response(present_accepted(accepted), 200, {"Cache-Control": "no-store"})
