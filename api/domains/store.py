"""Queries on domains."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import column, delete, select, table
from sqlalchemy.dialects.postgresql import insert

from api.core.database.routing import ReadSession, WriteSession
from api.core.database.sessions import AnyRow

# Named here and not imported: every process looks hosts up, also those that need no other table.
_DOMAINS = table(
    "domains", column("id"), column("workspace_id"), column("host"), column("created_at")
)
_Domain = _DOMAINS.c
_COLUMNS = (_Domain.id, _Domain.host, _Domain.created_at)


def get_owner(session: ReadSession, host: str) -> int | None:
    """The workspace that has claimed `host`, whoever asks: hosts are public."""
    statement = select(_Domain.workspace_id).where(_Domain.host == host)
    return session.execute(statement).scalar_one_or_none()


def find_owners(session: ReadSession, hosts: Sequence[str]) -> dict[str, int]:
    """The workspaces that have claimed `hosts`, whoever asks."""
    statement = select(_Domain.host, _Domain.workspace_id).where(_Domain.host.in_(hosts))
    return {row.host: row.workspace_id for row in session.execute(statement)}


def get_domain(session: ReadSession, workspace: int, identifier: int) -> AnyRow | None:
    """One domain of a workspace."""
    return session.execute(
        select(*_COLUMNS).where(_Domain.workspace_id == workspace, _Domain.id == identifier)
    ).one_or_none()


def find_domains(
    session: ReadSession, workspace: int, before_id: int | None, limit: int
) -> Sequence[AnyRow]:
    """Domains of a workspace, newest first."""
    statement = select(*_COLUMNS).where(_Domain.workspace_id == workspace)
    if before_id is not None:
        statement = statement.where(_Domain.id < before_id)
    return session.execute(statement.order_by(_Domain.id.desc()).limit(limit)).all()


def insert_domain(
    session: WriteSession, workspace: int, identifier: int, host: str
) -> AnyRow | None:
    """Claim `host`; None where somebody has it."""
    statement = (
        insert(_DOMAINS)
        .values(id=identifier, workspace_id=workspace, host=host)
        .on_conflict_do_nothing(index_elements=["host"])
        .returning(*_COLUMNS)
    )
    return session.execute(statement).one_or_none()


def delete_domain(session: WriteSession, workspace: int, identifier: int) -> str | None:
    """Give a domain up; its host, or None where there was no such domain."""
    statement = (
        delete(_DOMAINS)
        .where(_Domain.workspace_id == workspace, _Domain.id == identifier)
        .returning(_Domain.host)
    )
    return session.execute(statement).scalar_one_or_none()
