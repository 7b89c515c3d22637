"""Queries on invitations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, insert, select, update

from api.core.database.routing import ReadSession, WriteSession
from api.core.database.sessions import AnyRow
from api.identity.models import Invitation, Workspace

_INVITATION = (
    Invitation.id,
    Invitation.email,
    Invitation.role,
    Invitation.invited_by,
    Invitation.created_at,
    Invitation.expires_at,
    Invitation.accepted_at,
    Invitation.revoked_at,
)


def insert_invitation(
    session: WriteSession,
    workspace: int,
    *,
    identifier: int,
    email: str,
    role: str,
    digest: bytes,
    invited_by: int | None,
    expires_at: datetime,
) -> AnyRow:
    """Keep an invitation, by the digest of its token."""
    statement = (
        insert(Invitation)
        .values(
            id=identifier,
            workspace_id=workspace,
            email=email,
            role=role,
            token_hash=digest,
            invited_by=invited_by,
            expires_at=expires_at,
        )
        .returning(*_INVITATION)
    )
    return session.execute(statement).one()


def find_invitations(
    session: ReadSession, workspace: int, before_id: int | None, limit: int
) -> Sequence[AnyRow]:
    """Invitations of a workspace, newest first, whatever became of them."""
    statement = select(*_INVITATION).where(Invitation.workspace_id == workspace)
    if before_id is not None:
        statement = statement.where(Invitation.id < before_id)
    return session.execute(statement.order_by(Invitation.id.desc()).limit(limit)).all()


def get_invitation(session: ReadSession, workspace: int, identifier: int) -> AnyRow | None:
    """One invitation of a workspace."""
    return session.execute(
        select(*_INVITATION).where(
            Invitation.workspace_id == workspace, Invitation.id == identifier
        )
    ).one_or_none()


def get_invitation_by_digest(session: ReadSession, digest: bytes) -> AnyRow | None:
    """The invitation with this token, whatever became of it, and where it leads."""
    return session.execute(
        select(*_INVITATION, Invitation.workspace_id, Workspace.name.label("workspace_name"))
        .join(Workspace, Workspace.id == Invitation.workspace_id)
        .where(Invitation.token_hash == digest)
    ).one_or_none()


def update_accepted(session: WriteSession, identifier: int) -> bool:
    """Use an invitation up; False where that was done, or it has ended."""
    statement = (
        update(Invitation)
        .where(Invitation.id == identifier, *_open(), Invitation.expires_at > func.now())
        .values(accepted_at=func.now())
        .returning(Invitation.id)
    )
    return session.execute(statement).first() is not None


def update_revoked(session: WriteSession, workspace: int, identifier: int) -> None:
    """Revoke an invitation unless it is used or revoked."""
    _revoke(session, Invitation.workspace_id == workspace, Invitation.id == identifier)


def update_revoked_for(session: WriteSession, workspace: int, email: str) -> None:
    """Revoke the open invitation for an address."""
    _revoke(session, Invitation.workspace_id == workspace, Invitation.email == email)


def update_revoked_by(session: WriteSession, user: int, workspace: int | None = None) -> None:
    """Revoke the open invitations that a user has sent, in one workspace or in all."""
    where = [Invitation.invited_by == user]
    if workspace is not None:
        where.append(Invitation.workspace_id == workspace)
    _revoke(session, *where)


def _revoke(session: WriteSession, *where: ColumnElement[bool]) -> None:
    session.execute(update(Invitation).where(*where, *_open()).values(revoked_at=func.now()))


def _open() -> tuple[ColumnElement[bool], ...]:
    return Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None)
