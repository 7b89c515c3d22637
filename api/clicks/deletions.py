"""Queries that delete raw clicks, and what is remembered of it: horizons and erasures.

Raw clicks are found link by link, as their primary key begins with one: nothing here reads a month
from one end to the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    DateTime,
    SmallInteger,
    bindparam,
    delete,
    exists,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from api.clicks.models import Click, ClickErasure, ErasedWorkspace
from api.core.database.routing import ReadSession, WriteSession
from api.core.database.sessions import AnyRow
from api.core.ids import HOME_SLOT

# Any constant that nothing else locks.
_ADVISORY_LOCK = 0x65_72_61_73_65

# From link to link: each step is one descent of the index, whatever number of clicks lies between.
_FIND_LINKS = text(
    """
    WITH RECURSIVE walk (slot, link_id, workspace_id, clicked_at) AS (
        (
            SELECT slot, link_id, workspace_id, clicked_at FROM clicks
            WHERE (slot, link_id) > (:slot, :link_id)
                AND clicked_at >= :since AND clicked_at < :before
            ORDER BY slot, link_id, clicked_at LIMIT 1
        )
        UNION ALL
        SELECT other.* FROM walk, LATERAL (
            SELECT slot, link_id, workspace_id, clicked_at FROM clicks
            WHERE (slot, link_id) > (walk.slot, walk.link_id)
                AND clicked_at >= :since AND clicked_at < :before
            ORDER BY slot, link_id, clicked_at LIMIT 1
        ) AS other
    )
    SELECT slot, link_id, workspace_id, clicked_at FROM walk LIMIT :most
    """
)
_MOVE_HORIZONS = text(
    """
    INSERT INTO click_horizons AS held (slot, workspace_id, complete_from)
    SELECT :slot, * FROM unnest(:workspaces, :moments) AS new (workspace_id, complete_from)
    ORDER BY new.workspace_id
    ON CONFLICT (slot, workspace_id) DO UPDATE SET complete_from = excluded.complete_from
        WHERE held.complete_from < excluded.complete_from
    """
).bindparams(
    bindparam("slot", type_=SmallInteger),
    bindparam("workspaces", type_=ARRAY(BigInteger)),
    bindparam("moments", type_=ARRAY(DateTime(timezone=True))),
)


class LinkClicks(NamedTuple):
    """A link that has clicks in some period, and the first of them."""

    slot: int
    link_id: int
    workspace_id: int
    oldest: datetime


def find_links(
    session: ReadSession,
    since: datetime,
    before: datetime,
    after: tuple[int, int],
    limit: int,
) -> list[LinkClicks]:
    """Links with clicks from `since` up to `before`, which is best one month; in the order of
    slot and id, those behind `after` in it."""
    rows = session.execute(
        _FIND_LINKS,
        {"slot": after[0], "link_id": after[1], "since": since, "before": before, "most": limit},
    )
    return [LinkClicks(*row) for row in rows]


def get_clicks_workspace(session: ReadSession, slot: int, link_id: int) -> int | None:
    """Whose link it is, or was, as far as its clicks tell."""
    query = select(Click.workspace_id).where(Click.slot == slot, Click.link_id == link_id).limit(1)
    workspace: int | None = session.scalar(query)
    return workspace


def count_clicks(
    session: ReadSession, slot: int, link_id: int, since: datetime, before: datetime
) -> int:
    """How many clicks of a link there are from `since` up to `before`."""
    query = select(func.count()).select_from(Click)
    return session.scalar(query.where(*_chosen(slot, link_id, since, before))) or 0


def delete_clicks(
    session: WriteSession,
    slot: int,
    link_id: int,
    since: datetime | None,
    before: datetime,
    limit: int,
) -> int:
    """Delete clicks of a link from `since` up to `before`, the oldest first; how many.

    `limit` of them, and more only where several have the moment of the last; fewer only where no
    more are left.
    """
    chosen = _chosen(slot, link_id, since, before)
    last = session.scalar(
        select(Click.clicked_at)
        .where(*chosen)
        .order_by(Click.clicked_at)
        .offset(limit - 1)
        .limit(1)
    )
    if last is not None:
        chosen.append(Click.clicked_at <= last)
    return session.execute(delete(Click).where(*chosen)).rowcount


def _chosen(
    slot: int, link_id: int, since: datetime | None, before: datetime
) -> list[ColumnElement[bool]]:
    chosen = [Click.slot == slot, Click.link_id == link_id, Click.clicked_at < before]
    if since is not None:
        chosen.append(Click.clicked_at >= since)
    return chosen


def move_horizons(session: WriteSession, slot: int, moments: Mapping[int, datetime]) -> None:
    """Note from when on the raw clicks of workspaces are complete; never back in time."""
    workspaces = sorted(moments)
    if workspaces:
        values = [moments[workspace] for workspace in workspaces]
        session.execute(_MOVE_HORIZONS, {"slot": slot, "workspaces": workspaces, "moments": values})


def lock_out_ingest(session: WriteSession) -> None:
    """Wait until no transaction stores clicks, and keep others from it until this one ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def find_erasures(session: WriteSession, link_ids: Collection[int]) -> dict[int, datetime]:
    """Those of the links whose clicks were erased, and up to which moment.

    Clicks up to then may not be stored or counted for the link any more. To be asked in the
    transaction that stores clicks, before it does: an erasure that is not found yet waits for
    that transaction to end.
    """
    session.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": _ADVISORY_LOCK})
    # Hardly ever is there one: then the links need not be sent.
    if not session.scalar(select(exists().select_from(ClickErasure))):
        return {}
    links = func.unnest(bindparam("links", list(link_ids), type_=ARRAY(BigInteger)))
    asked = select(links.label("id")).subquery()
    slot = asked.c.id.op(">>")(12).op("&")(1023)
    query = select(ClickErasure.link_id, ClickErasure.erased_until).join_from(
        asked, ClickErasure, (ClickErasure.slot == slot) & (ClickErasure.link_id == asked.c.id)
    )
    return dict(session.execute(query).all())


def erase_workspace(session: WriteSession, workspace: int) -> None:
    """Have no click of a workspace stored on this shard any more; waits for those that are."""
    lock_out_ingest(session)
    row = insert(ErasedWorkspace).values(slot=HOME_SLOT, workspace_id=workspace)
    session.execute(row.on_conflict_do_nothing())


def find_erased_workspaces(session: WriteSession, workspaces: Collection[int]) -> set[int]:
    """Those of the workspaces that were erased; after `find_erasures`, as that one waits."""
    query = select(ErasedWorkspace.workspace_id).where(
        ErasedWorkspace.slot == HOME_SLOT, ErasedWorkspace.workspace_id.in_(workspaces)
    )
    return set(session.scalars(query))


def upsert_erasure(
    session: WriteSession, workspace: int, slot: int, link_id: int, until: datetime
) -> None:
    """Note that the clicks of a link are erased up to a moment."""
    statement = insert(ClickErasure).values(
        slot=slot, link_id=link_id, workspace_id=workspace, erased_until=until
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["slot", "link_id"],
            set_={
                "erased_until": func.greatest(ClickErasure.erased_until, until),
                "requested_at": func.now(),
                "finished_at": None,
            },
        )
    )


def find_unfinished_erasures(session: ReadSession, limit: int) -> Sequence[AnyRow]:
    """Erasures that may have clicks left, the oldest first."""
    query = (
        select(ClickErasure)
        .where(ClickErasure.finished_at.is_(None))
        .order_by(ClickErasure.requested_at)
        .limit(limit)
    )
    return session.execute(query).all()


def update_erasure_finished(session: WriteSession, erasure: AnyRow) -> None:
    """Note that an erasure has nothing left to do, unless it was asked for again meanwhile."""
    session.execute(
        update(ClickErasure)
        .where(
            ClickErasure.slot == erasure.slot,
            ClickErasure.link_id == erasure.link_id,
            ClickErasure.erased_until == erasure.erased_until,
            ClickErasure.finished_at.is_(None),
        )
        .values(finished_at=func.now())
    )
