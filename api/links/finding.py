"""Queries that find pages of links."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, bindparam, select, tuple_

from api.core.database.prepared import Question, ReadOnce
from api.core.database.routing import ReadSession
from api.core.database.sessions import AnyRow
from api.links.models import Link
from api.links.store import Column, columns_of


@functools.lru_cache(maxsize=256)
def _page(fields: tuple[str, ...], sort: str, *, after: bool) -> Question:
    """The page of a list without filters: what most lists are."""
    statement = _in_order(
        select(*columns_of(fields)).where(Link.workspace_id == bindparam("workspace")),
        sort,
        [bindparam("after_0"), bindparam("after_1")] if after else None,
    )
    return Question(statement.limit(bindparam("limit", type_=Integer)))


def ask_links(
    connection: ReadOnce,
    workspace: int,
    *,
    fields: tuple[str, ...],
    sort: str,
    after: tuple[Any, ...] | None,
    limit: int,
) -> list[Any]:
    """A page of all links in the order `sort`, beginning after the sort key `after`."""
    place = {f"after_{index}": value for index, value in enumerate(after or ())}
    question = _page(fields, sort, after=after is not None)
    return connection.ask(question, workspace=workspace, limit=limit, **place)


def find_links(
    session: ReadSession,
    workspace: int,
    *,
    columns: Sequence[Column],
    conditions: Sequence[ColumnElement[bool]],
    sort: str,
    after: tuple[Any, ...] | None,
    limit: int,
) -> Sequence[AnyRow]:
    """A page of the links that meet `conditions`; see `ask_links`."""
    statement = select(*columns).where(
        Link.workspace_id == workspace, *session.owned(Link.slot), *conditions
    )
    return session.execute(_in_order(statement, sort, after).limit(limit)).all()


def _in_order(statement: Select[Any], sort: str, after: Sequence[Any] | None) -> Select[Any]:
    """Links that are not deleted, in the order `sort`, after the sort key `after`."""
    keys: list[Column] = [Link.updated_at, Link.id] if "updated_at" in sort else [Link.id]
    descending = sort.startswith("-")
    statement = statement.select_from(Link).where(Link.deleted_at.is_(None))
    if after is not None:
        here, there = tuple_(*keys), tuple_(*after[: len(keys)])
        statement = statement.where(here < there if descending else here > there)
    return statement.order_by(*(key.desc() if descending else key.asc() for key in keys))
