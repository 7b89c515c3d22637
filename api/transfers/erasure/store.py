"""Queries that find and delete what belongs to a workspace, whatever module it is of.

Tables are taken from the metadata of all of them: each that names a workspace, or a link, must be
erased, those of tomorrow, too (`tests/transfers/test_erasure.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    SmallInteger,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    tuple_,
    update,
)

from api.core.database.routing import ReadSession, WriteSession
from api.core.database.sessions import AnyRow
from api.models import METADATA
from api.transfers.erasure.models import WorkspaceErasure

SHARD = METADATA["shard"].tables
DIRECTORY = METADATA["directory"].tables

# Rows that a link has, whose own keys name it.
OF_LINKS = ("link_tags", "title_fetches", "link_totals", "click_erasures")

# From subject to subject: each step is one descent of the index, see `api.clicks.deletions`.
_COUNTED = text(
    """
    WITH RECURSIVE walk (slot, subject, subject_id, workspace_id) AS (
        (
            SELECT slot, subject, subject_id, workspace_id FROM click_counts
            WHERE (slot, subject, subject_id) > (:slot, :subject, :subject_id)
            ORDER BY slot, subject, subject_id LIMIT 1
        )
        UNION ALL
        SELECT other.* FROM walk, LATERAL (
            SELECT slot, subject, subject_id, workspace_id FROM click_counts
            WHERE (slot, subject, subject_id) > (walk.slot, walk.subject, walk.subject_id)
            ORDER BY slot, subject, subject_id LIMIT 1
        ) AS other
    )
    SELECT slot, subject, subject_id, workspace_id FROM walk LIMIT :most
    """
)


class Counted(NamedTuple):
    """What is counted: a link, or a workspace, domain or tag."""

    slot: int
    subject: int
    subject_id: int
    workspace_id: int


def lock_workspace(session: WriteSession, workspace: int) -> AnyRow | None:
    """A workspace, that nobody changes until the transaction ends."""
    workspaces = DIRECTORY["workspaces"]
    query = select(workspaces.c.id, workspaces.c.name).where(workspaces.c.id == workspace)
    return session.execute(query.with_for_update()).one_or_none()


def insert_erasure(session: WriteSession, workspace: int, token_hash: bytes) -> None:
    """Note that a workspace is being erased."""
    row = {"workspace_id": workspace, "token_hash": token_hash}
    session.execute(insert(WorkspaceErasure).values(row))


def get_erasure(session: ReadSession, token_hash: bytes) -> AnyRow | None:
    """The erasure of which somebody knows the token."""
    query = select(WorkspaceErasure).where(WorkspaceErasure.token_hash == token_hash)
    return session.execute(query).one_or_none()


def get_erasure_of(session: ReadSession, workspace: int) -> AnyRow | None:
    """The erasure of a workspace."""
    query = select(WorkspaceErasure).where(WorkspaceErasure.workspace_id == workspace)
    return session.execute(query).one_or_none()


def update_claim(session: WriteSession, life: timedelta, only: int | None) -> int | None:
    """Take an erasure that nobody works at, the oldest first, or `only` that of one workspace."""
    free = (
        select(WorkspaceErasure.workspace_id)
        .where(
            WorkspaceErasure.finished_at.is_(None),
            func.coalesce(WorkspaceErasure.claimed_until, func.now()) <= func.now(),
            *([] if only is None else [WorkspaceErasure.workspace_id == only]),
        )
        .order_by(WorkspaceErasure.asked_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    workspace: int | None = session.scalar(
        update(WorkspaceErasure)
        .where(WorkspaceErasure.workspace_id.in_(free))
        .values(claimed_until=func.now() + life)
        .returning(WorkspaceErasure.workspace_id)
    )
    return workspace


def add_erased(
    session: WriteSession, workspace: int, erased: dict[str, int], life: timedelta | None
) -> None:
    """Add to what is erased; for `life` longer, or no more, somebody works at it."""
    row = session.execute(
        select(WorkspaceErasure.erased)
        .where(WorkspaceErasure.workspace_id == workspace)
        .with_for_update()
    ).one()
    sums = {name: row.erased.get(name, 0) + erased.get(name, 0) for name in row.erased | erased}
    session.execute(
        update(WorkspaceErasure)
        .where(WorkspaceErasure.workspace_id == workspace)
        .values(erased=sums, claimed_until=None if life is None else func.now() + life)
    )


def update_finished(session: WriteSession, workspace: int, now: datetime) -> None:
    """Note that nothing is left."""
    session.execute(
        update(WorkspaceErasure)
        .where(WorkspaceErasure.workspace_id == workspace)
        .values(finished_at=now)
    )


def delete_of_workspace(session: WriteSession, table: Table, workspace: int, limit: int) -> int:
    """Delete rows of a table that name a workspace; how many."""
    key = tuple(table.primary_key.columns)
    some = select(*key).where(table.c.workspace_id == workspace).limit(limit)
    return session.execute(delete(table).where(tuple_(*key).in_(some))).rowcount


def delete_names(session: WriteSession, table: Table, workspace: int, name: str) -> list[Any]:
    """Delete all rows of a small table; of each the column `name`."""
    statement = delete(table).where(table.c.workspace_id == workspace).returning(table.c[name])
    return list(session.scalars(statement))


def find_links(session: ReadSession, workspace: int, limit: int) -> Sequence[AnyRow]:
    """Some links of a workspace: those that are not deleted first."""
    links = SHARD["links"]
    query = select(links.c.slot, links.c.id, links.c.domain, links.c.slug).limit(limit)
    for deleted in (links.c.deleted_at.is_(None), links.c.deleted_at.is_not(None)):
        found = session.execute(
            query.where(links.c.workspace_id == workspace, deleted).order_by(links.c.id)
        ).all()
        if found:
            return found
    return []


def delete_of_links(
    session: WriteSession, table: Table, column: str, keys: Sequence[tuple[int, int]]
) -> int:
    """Delete the rows of links, which `column` names; how many."""
    if not keys:
        return 0
    slots, links = zip(*keys, strict=True)
    these = func.unnest(
        bindparam("slots", list(slots), type_=ARRAY(SmallInteger)),
        bindparam("links", list(links), type_=ARRAY(BigInteger)),
    )
    wanted = these.table_valued("slot", "id", name="wanted").render_derived()
    is_of = and_(table.c.slot == wanted.c.slot, table.c[column] == wanted.c.id)
    return session.execute(delete(table).where(is_of)).rowcount


def find_counted(
    session: ReadSession, after: tuple[int, int, int], limit: int
) -> Sequence[Counted]:
    """What is counted on a shard, whose ever it is, in the order of its key."""
    slot, subject, subject_id = after
    rows = session.execute(
        _COUNTED, {"slot": slot, "subject": subject, "subject_id": subject_id, "most": limit}
    )
    return [Counted(*row) for row in rows]


def delete_counts(session: WriteSession, counted: Counted, limit: int) -> int:
    """Delete counts of one subject; how many."""
    counts = SHARD["click_counts"]
    key = tuple(counts.primary_key.columns)
    some = (
        select(*key)
        .where(
            counts.c.slot == counted.slot,
            counts.c.subject == counted.subject,
            counts.c.subject_id == counted.subject_id,
            counts.c.workspace_id == counted.workspace_id,
        )
        .limit(limit)
    )
    return session.execute(delete(counts).where(tuple_(*key).in_(some))).rowcount


def delete_workspace(session: WriteSession, workspace: int) -> int:
    """Delete the workspace itself, and by its foreign keys whatever came meanwhile."""
    workspaces = DIRECTORY["workspaces"]
    return session.execute(delete(workspaces).where(workspaces.c.id == workspace)).rowcount
