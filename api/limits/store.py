"""Queries on what workspaces have used."""

from __future__ import annotations

from datetime import date

from sqlalchemy import BigInteger, Date, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert

from api.core.database.prepared import Command, Question, ReadOnce, WriteOnce
from api.core.database.routing import WriteSession
from api.limits.models import LinkUsage

_WORKSPACE = bindparam("workspace", type_=BigInteger)
_MONTH = bindparam("month", type_=Date)
_LINKS = bindparam("links", type_=BigInteger)
_QUOTA = bindparam("quota", type_=BigInteger)


def _taking() -> Command:
    row = select(_WORKSPACE, _MONTH, _LINKS).where(_LINKS <= _QUOTA)
    made = insert(LinkUsage).from_select(["workspace_id", "month", "links"], row)
    sum_of_both = LinkUsage.links + made.excluded.links
    return Command(
        made.on_conflict_do_update(
            index_elements=["workspace_id", "month"],
            set_={"links": sum_of_both},
            where=sum_of_both <= _QUOTA,
        ).returning(LinkUsage.links)
    )


_TAKE = _taking()
_USED = Question(
    select(LinkUsage.links).where(LinkUsage.workspace_id == _WORKSPACE, LinkUsage.month == _MONTH)
)


def take_all(connection: WriteOnce, workspace: int, month: date, links: int, quota: int) -> bool:
    """Count `links` more, unless they pass the quota. Of two at once each sees the other's."""
    return bool(connection.run(_TAKE, workspace=workspace, month=month, links=links, quota=quota))


def take_some(session: WriteSession, workspace: int, month: date, links: int, quota: int) -> int:
    """Count as many of `links` as the quota leaves; how many."""
    here = (LinkUsage.workspace_id == workspace, LinkUsage.month == month)
    used = session.scalar(select(LinkUsage.links).where(*here).with_for_update())
    granted = max(0, min(links, quota - (used or 0)))
    if granted:
        row = insert(LinkUsage).values(workspace_id=workspace, month=month, links=granted)
        session.execute(
            row.on_conflict_do_update(
                index_elements=["workspace_id", "month"],
                set_={"links": LinkUsage.links + row.excluded.links},
            )
        )
    return granted


def give_back(session: WriteSession, workspace: int, month: date, links: int) -> None:
    """Count `links` less."""
    session.execute(
        update(LinkUsage)
        .where(LinkUsage.workspace_id == workspace, LinkUsage.month == month)
        .values(links=func.greatest(LinkUsage.links - links, 0))
    )


def ask_used(connection: ReadOnce, workspace: int, month: date) -> int:
    """How many links were made."""
    row = connection.ask_one(_USED, workspace=workspace, month=month)
    return 0 if row is None else int(row.links)
