"""All links of a workspace as a stream, in the order of their ids.

No index has what several filters ask for together, and a step of a cursor that looks for the next
match may look at millions. So an index that has the order is gone through, and each of its links is
shown or is not: a step looks at as many links as it may give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import Column as TableColumn
from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    and_,
    cast,
    func,
    literal,
    select,
    true,
    union_all,
)

from api.core.database.routing import ReadSession
from api.core.database.sessions import AnyRow
from api.core.database.streaming import stream_rows
from api.links.filters import LinkFilter, conditions_of, made_within, words_of
from api.links.models import Link, LinkTag, LinkTotal
from api.links.store import COLUMNS, Column

Rows: TypeAlias = Select[*tuple[Any, ...]]

# As the list has them, and one that it has not.
LINK_FIELDS = (*COLUMNS, "last_clicked_at")

# What each field is selected as, so that a row is the values of its fields in their order. Those
# that are put together of others are left to who shows them; see `_BESIDE`.
_SHOWN: dict[str, Column] = {
    "id": cast(Link.id, Text),
    "short_url": Link.slug,
    "state": Link.enabled,
    "has_password": Link.password_hash.is_not(None),
    # As text: it goes out as it is, and is not read here.
    "metadata": cast(Link.custom, Text),
    "clicks": func.coalesce(LinkTotal.clicks, 0),
    "last_clicked_at": LinkTotal.last_clicked_at,
}
# And what these others are.
_BESIDE: dict[str, tuple[Column, ...]] = {name: COLUMNS[name] for name in ("short_url", "state")}
# The index of each state that most links are not in.
_RARE_STATES = {
    "disabled": ~Link.enabled,
    "scheduled": Link.starts_at.is_not(None),
    "expired": Link.expires_at.is_not(None),
    "exhausted": Link.max_clicks.is_not(None),
}


def stream_links(
    session: ReadSession,
    workspace: int,
    which: LinkFilter,
    *,
    fields: Sequence[str],
    after: int,
    now: datetime,
    at_once: int,
    idle_seconds: float,
) -> Iterator[tuple[list[AnyRow], int]]:
    """The links that `which` names with ids greater than `after`, some at a time, each time with
    the id up to which these are all.

    A row has the values of `fields` first, then what `short_url` and `state` are made of; its id
    as a number last.
    """
    if which.q is not None and not words_of(which.q):
        return
    shown = _columns_of(fields)
    statement = (
        _matching(session, workspace, which, after, shown, now)
        if which.narrows()
        else _all(session, workspace, after, shown)
    )
    for rows in stream_rows(session, statement, at_once=at_once, idle_seconds=idle_seconds):
        yield [row for row in rows if row.found is not None], rows[-1].walked


def clicked_links(
    session: ReadSession, workspace: int, first: int, *, only: int | None = None
) -> Rows:
    """Slot, id, domain and slug of the links that have or had clicks, deleted ones too, in the
    order of their ids from `first` on; or of one of them."""
    of_each = [
        select(Link.slot, Link.id, Link.domain, Link.slug)
        .where(
            Link.workspace_id == workspace,
            Link.id >= first,
            *([] if only is None else [Link.id == only]),
            deleted,
            *session.owned(Link.slot),
        )
        .order_by(Link.id)
        # Each has an index in this order.
        for deleted in (Link.deleted_at.is_(None), Link.deleted_at.is_not(None))
    ]
    each = union_all(*of_each).subquery("each")
    counted = select(LinkTotal.clicks).where(
        LinkTotal.slot == each.c.slot, LinkTotal.link_id == each.c.id
    )
    return select(each).where(counted.exists()).order_by(each.c.id)


def _columns_of(fields: Sequence[str]) -> list[Any]:
    shown = [_SHOWN.get(name, *COLUMNS.get(name, ())[:1]).label(name) for name in fields]
    beside = {column.key: column for name in fields for column in _BESIDE.get(name, ())}
    return shown + [column for key, column in beside.items() if key not in fields]


def _all(session: ReadSession, workspace: int, after: int, shown: Sequence[Any]) -> Rows:
    """All links, in one walk."""
    return (
        select(*shown, literal(1).label("found"), Link.id.label("walked"))
        .select_from(Link)
        .outerjoin(LinkTotal, _totals())
        .where(
            Link.workspace_id == workspace,
            Link.deleted_at.is_(None),
            Link.id > after,
            *session.owned(Link.slot),
        )
        .order_by(Link.id)
    )


def _matching(
    session: ReadSession,
    workspace: int,
    which: LinkFilter,
    after: int,
    shown: Sequence[Any],
    now: datetime,
) -> Rows:
    """Of each link on the walk what is shown of it, or nothing where it does not match."""
    walk, left = _walk(session, workspace, which, after)
    walked = walk.subquery("walk")
    link = (
        select(*shown, literal(1).label("found"))
        .select_from(Link)
        .outerjoin(LinkTotal, _totals())
        .where(
            Link.slot == walked.c.slot,
            Link.id == walked.c.id,
            Link.deleted_at.is_(None),
            *conditions_of(workspace, left, now, walking=True),
        )
        .lateral("link")
    )
    return (
        select(*link.c, walked.c.id.label("walked"))
        .select_from(walked)
        .outerjoin(link, true())
        .order_by(walked.c.id)
    )


def _walk(
    session: ReadSession, workspace: int, which: LinkFilter, after: int
) -> tuple[Rows, LinkFilter]:
    """Slot and id of links by the index that has the fewest of them, and what is still to ask."""
    if which.tag is not None:
        key: TableColumn[Any] = LinkTag.link_id  # type: ignore[assignment]
        tagged = select(LinkTag.slot, key.label("id")).where(
            LinkTag.workspace_id == workspace,
            LinkTag.tag == which.tag,
            key > after,
            *made_within(which, key),
            *session.owned(LinkTag.slot),
        )
        return tagged.order_by(key), replace(which, tag=None)
    conditions: list[ColumnElement[bool]] = [Link.deleted_at.is_(None)]
    if which.domain is not None:
        conditions.append(Link.domain == which.domain)
        which = replace(which, domain=None)
    elif which.state in _RARE_STATES:
        conditions.append(_RARE_STATES[which.state])
    walk = select(Link.slot, Link.id).where(
        Link.workspace_id == workspace,
        Link.id > after,
        *conditions,
        *made_within(which),
        *session.owned(Link.slot),
    )
    return walk.order_by(Link.id), which


def _totals() -> Any:
    return and_(LinkTotal.slot == Link.slot, LinkTotal.link_id == Link.id)
