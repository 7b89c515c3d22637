"""Queries on OAuth clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from api.core.database.routing import ReadSession, WriteSession
from api.core.database.sessions import AnyRow
from api.oauth.models import OAuthClient

_CLIENT = (
    OAuthClient.id,
    OAuthClient.workspace_id,
    OAuthClient.client_id,
    OAuthClient.name,
    (OAuthClient.secret_hash.is_not(None)).label("confidential"),
    OAuthClient.redirect_uris,
    OAuthClient.grant_types,
    OAuthClient.scopes,
    OAuthClient.created_at,
    OAuthClient.updated_at,
)


def get_client_by_name(session: ReadSession, client_id: str) -> AnyRow | None:
    """The client that calls itself so, with the hash of its secret, whoever asks."""
    return session.execute(
        select(*_CLIENT, OAuthClient.secret_hash).where(OAuthClient.client_id == client_id)
    ).one_or_none()


def get_client(session: ReadSession, workspace: int, identifier: int) -> AnyRow | None:
    """One client of a workspace."""
    return session.execute(
        select(*_CLIENT).where(OAuthClient.workspace_id == workspace, OAuthClient.id == identifier)
    ).one_or_none()


def find_clients(
    session: ReadSession, workspace: int, before_id: int | None, limit: int
) -> Sequence[AnyRow]:
    """Clients of a workspace, newest first."""
    statement = select(*_CLIENT).where(OAuthClient.workspace_id == workspace)
    if before_id is not None:
        statement = statement.where(OAuthClient.id < before_id)
    return session.execute(statement.order_by(OAuthClient.id.desc()).limit(limit)).all()


def insert_client(session: WriteSession, workspace: int, **values: Any) -> AnyRow:
    """Make a client."""
    statement = insert(OAuthClient).values(workspace_id=workspace, **values).returning(*_CLIENT)
    return session.execute(statement).one()


def update_client(
    session: WriteSession, workspace: int, identifier: int, changes: dict[str, Any]
) -> AnyRow | None:
    """Change a client; None where there is no such client."""
    statement = (
        update(OAuthClient)
        .where(OAuthClient.workspace_id == workspace, OAuthClient.id == identifier)
        .values(**changes, updated_at=func.now())
        .returning(*_CLIENT)
    )
    return session.execute(statement).one_or_none()


def delete_client(session: WriteSession, workspace: int, identifier: int) -> str | None:
    """Delete a client with all that was granted to it; its `client_id`, or None where there was
    none."""
    statement = (
        delete(OAuthClient)
        .where(OAuthClient.workspace_id == workspace, OAuthClient.id == identifier)
        .returning(OAuthClient.client_id)
    )
    return session.execute(statement).scalar_one_or_none()
