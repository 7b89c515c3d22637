"""Queries that find pages of links.

No index has the words of a search, or every other filter, in each order of a list, and PostgreSQL
cannot tell how rare they are: of words that begin with what is asked for it knows no number. So the
page of a filtered list is looked for in three ways, until one has it whole. What is common is found
at once among the next links of the list. What is not may be rare: then all of it is looked up by
the index of words, tags or whatever it is, and the few rows are sorted. Else it is common, but not
here: the list is walked through.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    false,
    func,
    select,
    true,
    tuple_,
)

from api.core.database.prepared import Question, ReadOnce
from api.core.database.routing import ReadSession
from api.core.database.sessions import AnyRow
from api.core.pagination import MAX_LIMIT
from api.links.filters import LinkFilter, conditions_of, made_within
from api.links.models import Link, LinkTag
from api.links.store import Column, columns_of

Conditions: TypeAlias = Sequence[ColumnElement[bool]]
Rows: TypeAlias = Select[*tuple[Any, ...]]

# How many links of a list are gone through before what is asked for is taken to be rare.
_NEAR = 2_000
# No more is ever sorted: a page, and the row that tells of the next.
_RARE = MAX_LIMIT + 1


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
    which: LinkFilter,
    *,
    fields: tuple[str, ...],
    sort: str,
    after: tuple[Any, ...] | None,
    limit: int,
) -> Sequence[AnyRow]:
    """A page of the links that `which` names; see `ask_links`."""
    now = datetime.now(UTC)
    pages = _Pages(session, workspace, columns_of(fields), sort, after, limit)
    if not which.narrows() or (not _by_change(sort) and which.q is None and which.tag is None):
        # For each of these filters, and for none, an index has the links in this order.
        return pages.in_order([*conditions_of(workspace, which, now), *made_within(which)])
    if not _by_change(sort) and which.tag is not None:
        others = conditions_of(workspace, replace(which, tag=None), now)
        page = pages.tagged(which, others)
        if not others:
            return page
    else:
        page = pages.near(conditions_of(workspace, which, now, walking=True), which)
    if len(page) == limit:
        return page
    page = pages.rare([*conditions_of(workspace, which, now), *made_within(which)])
    if not page or page[0].found < _RARE:
        return page
    return pages.far(conditions_of(workspace, which, now, walking=True), which)


@dataclass(frozen=True, slots=True)
class _Pages:
    """The page of a list, looked for in one way or another."""

    session: ReadSession
    workspace: int
    columns: Sequence[Column]
    sort: str
    after: Sequence[Any] | None
    limit: int

    def in_order(self, conditions: Conditions) -> Sequence[AnyRow]:
        """Those that meet `conditions`, by whatever index PostgreSQL takes for the best."""
        found = select(*self.columns).where(*self._own(), *conditions)
        return self._rows(_in_order(found, self.sort, self.after))

    def tagged(self, which: LinkFilter, others: Conditions) -> Sequence[AnyRow]:
        """Of links with a tag, in the order of its index, the next ones; of these those that meet
        `others`, too."""
        key = LinkTag.link_id
        tags = select(LinkTag.slot, key.label("id")).where(
            LinkTag.workspace_id == self.workspace,
            LinkTag.tag == which.tag,
            *self.session.owned(LinkTag.slot),
            *made_within(which, key),
        )
        if self.after is not None:
            here = self.after[0]
            tags = tags.where(key < here if self.sort.startswith("-") else key > here)
        tags = tags.order_by(*_order([key], self.sort)).limit(_NEAR if others else self.limit)
        return self._rows(self._links_of(tags, [Link.deleted_at.is_(None), *others]))

    def near(self, conditions: Conditions, which: LinkFilter) -> Sequence[AnyRow]:
        """Of the next links of the list, those that meet `conditions`."""
        within, conditions = self._divided(conditions, which)
        keys = select(Link.slot, *_keys_of(self.sort), and_(*conditions).label("meets"))
        walk = _in_order(keys.where(*self._own(), *within), self.sort, self.after).limit(_NEAR)
        return self._rows(self._links_of(walk, []))

    def rare(self, conditions: Conditions) -> Sequence[AnyRow]:
        """Those that meet `conditions`, sorted, each with how many were `found`; where that is
        `_RARE`, there are more, and the page is none.

        Looked up without an order in mind: PostgreSQL would else walk through the list for them.
        """
        matching = _behind(
            select(Link.slot, Link.id).where(*self._own(), *conditions), self.sort, self.after
        )
        every = matching.cte("every").prefix_with("MATERIALIZED", dialect="postgresql")
        some = select(every).limit(_RARE).cte("some")
        found = select(func.count()).select_from(some).scalar_subquery().label("found")
        page = select(*self.columns, found).where(Link.slot == some.c.slot, Link.id == some.c.id)
        return self._rows(page.order_by(*_order(_keys_of(self.sort), self.sort)))

    def far(self, conditions: Conditions, which: LinkFilter) -> Sequence[AnyRow]:
        """Those that meet `conditions`, by walking through the list."""
        within, conditions = self._divided(conditions, which)
        # PostgreSQL takes half of all links to meet what it knows nothing of.
        unknown = func.coalesce(and_(*conditions), false())
        return self.in_order([*within, unknown])

    def _own(self) -> Conditions:
        return [Link.workspace_id == self.workspace, *self.session.owned(Link.slot)]

    def _divided(self, conditions: Conditions, which: LinkFilter) -> tuple[Conditions, Conditions]:
        """What is a part of the list's order, and what each link must meet beside it."""
        made = list(made_within(which))
        return ([], [*conditions, *made]) if _by_change(self.sort) else (made, conditions)

    def _links_of(self, walk: Rows, conditions: Conditions) -> Rows:
        """The links of a walk in its order; those that meet `conditions`, and `meets` if that is
        told. One by one, as they are wanted: to join them PostgreSQL might read all links."""
        walked = walk.subquery("walked")
        link = (
            select(*self.columns)
            .where(Link.slot == walked.c.slot, Link.id == walked.c.id, *conditions)
            .limit(1)
            .lateral("link")
        )
        page = select(link).select_from(walked).join(link, true())
        if "meets" in walked.c:
            page = page.where(walked.c.meets)
        return page.order_by(*_order([walked.c[name] for name in _names_of(self.sort)], self.sort))

    def _rows(self, statement: Rows) -> Sequence[AnyRow]:
        return self.session.execute(statement.limit(self.limit)).all()


def _in_order(statement: Rows, sort: str, after: Sequence[Any] | None) -> Rows:
    """Links that are not deleted, in the order `sort`, after the sort key `after`."""
    return _behind(statement, sort, after).order_by(*_order(_keys_of(sort), sort))


def _behind(statement: Rows, sort: str, after: Sequence[Any] | None) -> Rows:
    """The same in no order."""
    statement = statement.select_from(Link).where(Link.deleted_at.is_(None))
    if after is None:
        return statement
    keys = _keys_of(sort)
    here, there = tuple_(*keys), tuple_(*after[: len(keys)])
    return statement.where(here < there if sort.startswith("-") else here > there)


def _by_change(sort: str) -> bool:
    return "updated_at" in sort


def _names_of(sort: str) -> list[str]:
    return ["updated_at", "id"] if _by_change(sort) else ["id"]


def _keys_of(sort: str) -> list[Column]:
    return [getattr(Link, name) for name in _names_of(sort)]


def _order(keys: Sequence[Column], sort: str) -> list[ColumnElement[Any]]:
    return [key.desc() if sort.startswith("-") else key.asc() for key in keys]
