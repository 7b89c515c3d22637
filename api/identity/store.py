"""Queries on workspaces and API keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, insert, or_, select, update

from api.core.database.prepared import Question, ReadOnce
from api.core.database.routing import ReadSession, WriteSession
from api.core.database.sessions import AnyRow
from api.identity.models import ApiKey, Membership, User, Workspace

_KEY = (
    ApiKey.id,
    ApiKey.user_id,
    ApiKey.name,
    ApiKey.prefix,
    ApiKey.scopes,
    ApiKey.created_at,
    ApiKey.expires_at,
    ApiKey.last_used_at,
    ApiKey.revoked_at,
)
_WORKSPACE = (
    Workspace.id,
    Workspace.name,
    Workspace.reuse_deleted_slugs,
    Workspace.click_retention_days,
    Workspace.created_at,
    Workspace.updated_at,
)


def insert_workspace(session: WriteSession, identifier: int, name: str) -> AnyRow:
    """Make a workspace."""
    statement = insert(Workspace).values(id=identifier, name=name).returning(*_WORKSPACE)
    return session.execute(statement).one()


def get_workspace(session: ReadSession, workspace: int) -> AnyRow | None:
    """A workspace by its id."""
    return session.execute(select(*_WORKSPACE).where(Workspace.id == workspace)).one_or_none()


def get_oldest_workspace(session: ReadSession) -> AnyRow | None:
    """The workspace with the smallest id."""
    return session.execute(select(*_WORKSPACE).order_by(Workspace.id).limit(1)).one_or_none()


def update_workspace(session: WriteSession, workspace: int, changes: dict[str, Any]) -> AnyRow:
    """Change a workspace that exists."""
    statement = (
        update(Workspace)
        .where(Workspace.id == workspace)
        .values(**changes, updated_at=func.now())
        .returning(*_WORKSPACE)
    )
    return session.execute(statement).one()


_PLAN = Question(select(Workspace.plan).where(Workspace.id == bindparam("workspace")))


def ask_plan(connection: ReadOnce, workspace: int) -> str | None:
    """The name of a workspace's plan, None where none was set."""
    row = connection.ask_one(_PLAN, workspace=workspace)
    return None if row is None else row.plan


def find_click_retentions(
    session: ReadSession, after_id: int, limit: int
) -> Sequence[tuple[int, int | None]]:
    """Workspaces and the days for which they keep raw clicks, by id."""
    statement = (
        select(Workspace.id, Workspace.click_retention_days)
        .where(Workspace.id > after_id)
        .order_by(Workspace.id)
        .limit(limit)
    )
    return [(identifier, days) for identifier, days in session.execute(statement)]


def count_workspaces(session: ReadSession) -> int:
    """How many there are; none on a new installation."""
    return int(session.scalar(select(func.count()).select_from(Workspace)))


_KEY_BY_DIGEST = Question(
    select(
        ApiKey.id,
        ApiKey.workspace_id,
        ApiKey.user_id,
        ApiKey.name,
        ApiKey.scopes,
        ApiKey.expires_at,
        ApiKey.last_used_at,
        ApiKey.revoked_at,
        Membership.role,
        User.email,
        User.disabled_at,
    )
    .outerjoin(
        Membership,
        (Membership.workspace_id == ApiKey.workspace_id) & (Membership.user_id == ApiKey.user_id),
    )
    .outerjoin(User, User.id == ApiKey.user_id)
    .where(ApiKey.key_hash == bindparam("digest"))
)


def ask_key(connection: ReadOnce, digest: bytes) -> Any | None:
    """The key with this SHA-256, whatever its state, and what its owner, if any, may do now."""
    return connection.ask_one(_KEY_BY_DIGEST, digest=digest)


def find_keys(
    session: ReadSession, workspace: int, before_id: int | None, limit: int
) -> Sequence[AnyRow]:
    """Keys of a workspace, newest first, revoked ones included."""
    statement = select(*_KEY).where(ApiKey.workspace_id == workspace)
    if before_id is not None:
        statement = statement.where(ApiKey.id < before_id)
    return session.execute(statement.order_by(ApiKey.id.desc()).limit(limit)).all()


def get_key(session: ReadSession, workspace: int, identifier: int) -> AnyRow | None:
    """One key of a workspace."""
    return session.execute(
        select(*_KEY).where(ApiKey.workspace_id == workspace, ApiKey.id == identifier)
    ).one_or_none()


def insert_key(
    session: WriteSession,
    workspace: int,
    *,
    identifier: int,
    user: int | None,
    name: str,
    prefix: str,
    digest: bytes,
    scopes: Sequence[str],
    expires_at: datetime | None,
) -> AnyRow:
    """Keep a new key's digest."""
    statement = (
        insert(ApiKey)
        .values(
            id=identifier,
            workspace_id=workspace,
            user_id=user,
            name=name,
            prefix=prefix,
            key_hash=digest,
            scopes=list(scopes),
            expires_at=expires_at,
        )
        .returning(*_KEY)
    )
    return session.execute(statement).one()


def update_key_revoked(session: WriteSession, workspace: int, identifier: int) -> bool:
    """Revoke a key; whether there was such a key, revoked before or not."""
    statement = (
        update(ApiKey)
        .where(ApiKey.workspace_id == workspace, ApiKey.id == identifier)
        .values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
        .returning(ApiKey.id)
    )
    return session.execute(statement).first() is not None


def update_keys_revoked(session: WriteSession, workspace: int, user: int) -> None:
    """Revoke the keys that a user has for a workspace."""
    session.execute(
        update(ApiKey)
        .where(ApiKey.user_id == user, ApiKey.workspace_id == workspace)
        .where(ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )


def update_key_used(session: WriteSession, identifier: int, older_than: datetime) -> None:
    """Note that a key was used, unless that was noted since `older_than`."""
    session.execute(
        update(ApiKey)
        .where(
            ApiKey.id == identifier,
            or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < older_than),
        )
        .values(last_used_at=func.now())
    )
