"""Queries on users and on what they may do where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from api.core.database.prepared import Question, ReadOnce
from api.core.database.routing import ReadSession, WriteSession
from api.core.database.sessions import AnyRow
from api.identity.models import Membership, User, Workspace

_USER = (
    User.id,
    User.email,
    User.name,
    User.created_at,
    User.updated_at,
    User.disabled_at,
    User.signed_out_at,
    User.invited,
    User.password_hash.is_not(None).label("has_password"),
)
_MEMBER = (
    Membership.user_id,
    User.email,
    User.name,
    Membership.role,
    User.disabled_at,
    Membership.created_at,
    Membership.updated_at,
)


def insert_user(
    session: WriteSession, identifier: int, *, email: str, name: str, **values: Any
) -> AnyRow | None:
    """Make a user; None where the address is somebody's."""
    statement = (
        insert(User)
        .values(id=identifier, email=email, name=name, **values)
        .on_conflict_do_nothing(index_elements=["email"])
        .returning(*_USER)
    )
    return session.execute(statement).one_or_none()


def get_user(session: ReadSession, user: int) -> AnyRow | None:
    """A user by id."""
    return session.execute(select(*_USER).where(User.id == user)).one_or_none()


def get_user_by_email(session: ReadSession, email: str) -> AnyRow | None:
    """A user by their address, in lower case."""
    return session.execute(select(*_USER).where(User.email == email)).one_or_none()


def get_password_hash(session: ReadSession, user: int) -> str | None:
    """What is kept of a user's password."""
    password_hash: str | None = session.scalar(select(User.password_hash).where(User.id == user))
    return password_hash


def find_workspaces(session: ReadSession, user: int, limit: int) -> Sequence[int]:
    """The ids of the workspaces of which a user is a member."""
    where = Membership.user_id == user
    return session.scalars(select(Membership.workspace_id).where(where).limit(limit)).all()


def find_users(session: ReadSession, after_id: int, limit: int) -> Sequence[AnyRow]:
    """Users of the installation, by id."""
    statement = select(*_USER).where(User.id > after_id).order_by(User.id).limit(limit)
    return session.execute(statement).all()


def update_user(session: WriteSession, user: int, values: dict[str, Any]) -> AnyRow | None:
    """Change a user; None where there is no such."""
    statement = (
        update(User)
        .where(User.id == user)
        .values(**values, updated_at=func.now())
        .returning(*_USER)
    )
    return session.execute(statement).one_or_none()


def insert_membership(session: WriteSession, workspace: int, user: int, role: str) -> bool:
    """Make a user a member; False where they are one."""
    statement = (
        insert(Membership)
        .values(workspace_id=workspace, user_id=user, role=role)
        .on_conflict_do_nothing(index_elements=["workspace_id", "user_id"])
        .returning(Membership.user_id)
    )
    return session.execute(statement).first() is not None


_ACTIVE_ROLE = Question(
    select(Membership.role)
    .join(User, User.id == Membership.user_id)
    .where(
        Membership.workspace_id == bindparam("workspace"),
        Membership.user_id == bindparam("user"),
        User.disabled_at.is_(None),
    )
)


def ask_active_role(connection: ReadOnce, workspace: int, user: int) -> str | None:
    """The role of a member who is not disabled."""
    row = connection.ask_one(_ACTIVE_ROLE, workspace=workspace, user=user)
    return None if row is None else str(row.role)


def find_memberships(session: ReadSession, user: int, limit: int) -> Sequence[AnyRow]:
    """Workspaces of a user, by id: id, name, role."""
    statement = (
        select(Membership.workspace_id, Workspace.name, Membership.role)
        .join(Workspace, Workspace.id == Membership.workspace_id)
        .where(Membership.user_id == user)
        .order_by(Membership.workspace_id)
        .limit(limit)
    )
    return session.execute(statement).all()


def find_members(
    session: ReadSession, workspace: int, after_user: int, limit: int
) -> Sequence[AnyRow]:
    """Members of a workspace, by the id of the user."""
    statement = (
        select(*_MEMBER)
        .join(User, User.id == Membership.user_id)
        .where(Membership.workspace_id == workspace, Membership.user_id > after_user)
        .order_by(Membership.user_id)
        .limit(limit)
    )
    return session.execute(statement).all()


def get_member(session: ReadSession, workspace: int, user: int) -> AnyRow | None:
    """One member of a workspace."""
    statement = (
        select(*_MEMBER)
        .join(User, User.id == Membership.user_id)
        .where(Membership.workspace_id == workspace, Membership.user_id == user)
    )
    return session.execute(statement).one_or_none()


def find_active_owners(session: WriteSession, workspace: int) -> Sequence[int]:
    """The owners who can act, their memberships locked: two who leave at once wait for each other,
    and the second one sees that the first is gone."""
    # Looked up owner by owner: for a join PostgreSQL might read all users, as it takes owners to be
    # as frequent among these members as among all others.
    disabled_at = select(User.disabled_at).where(User.id == Membership.user_id).scalar_subquery()
    statement = (
        select(Membership.user_id)
        .where(
            Membership.workspace_id == workspace,
            Membership.role == "owner",
            disabled_at.is_(None),
        )
        .order_by(Membership.user_id)
        .with_for_update(of=Membership)
    )
    return session.scalars(statement).all()


def update_role(session: WriteSession, workspace: int, user: int, role: str) -> bool:
    """Give a member another role; whether there is such a member."""
    statement = (
        update(Membership)
        .where(Membership.workspace_id == workspace, Membership.user_id == user)
        .values(role=role, updated_at=func.now())
        .returning(Membership.user_id)
    )
    return session.execute(statement).first() is not None


def delete_membership(session: WriteSession, workspace: int, user: int) -> bool:
    """End a membership; whether there was one."""
    statement = (
        delete(Membership)
        .where(Membership.workspace_id == workspace, Membership.user_id == user)
        .returning(Membership.user_id)
    )
    return session.execute(statement).first() is not None
