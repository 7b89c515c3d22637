"""Queries on links."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Select,
    SmallInteger,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import InstrumentedAttribute

from api.core.database.prepared import Command, Question, ReadOnce, WriteOnce
from api.core.database.routing import ReadSession, WriteSession
from api.core.database.sessions import AnyRow
from api.core.ids import slot_of_id
from api.links.models import Link, LinkTag, LinkTotal

Column: TypeAlias = ColumnElement[Any] | InstrumentedAttribute[Any]

# A subquery, not a join: it is asked for the rows of the page alone, after they were chosen.
CLICKS = func.coalesce(
    select(LinkTotal.clicks)
    .where(LinkTotal.slot == Link.slot, LinkTotal.link_id == Link.id)
    .scalar_subquery(),
    0,
).label("clicks")

# The columns that each field of the answer is made of.
COLUMNS: dict[str, tuple[Column, ...]] = {
    "id": (),
    "slug": (Link.slug,),
    "domain": (Link.domain,),
    "short_url": (Link.slug, Link.domain),
    "url": (Link.url,),
    "state": (Link.enabled, Link.starts_at, Link.expires_at, Link.max_clicks, Link.uses),
    "title": (Link.title,),
    "tags": (Link.tags,),
    "starts_at": (Link.starts_at,),
    "expires_at": (Link.expires_at,),
    "max_clicks": (Link.max_clicks,),
    "has_password": (Link.password_hash.is_not(None).label("has_password"),),
    "redirect_status": (Link.redirect_status,),
    "forward_query": (Link.forward_query,),
    "metadata": (Link.custom.label("custom"),),
    "clicks": (CLICKS,),
    "created_at": (Link.created_at,),
    "updated_at": (Link.updated_at,),
}


def columns_of(fields: Iterable[str]) -> list[Column]:
    """What to select for these fields of the answer; always id, version and the sort keys."""
    always: tuple[Column, ...] = (Link.id, Link.version, Link.updated_at)
    wanted = itertools.chain(always, *(COLUMNS[field] for field in fields))
    return list({column.key: column for column in wanted}.values())


_ALL = columns_of(COLUMNS)
# The same of a link that was just made: nobody can have clicked it.
_NEW = [literal(0).label("clicks") if column is CLICKS else column for column in _ALL]


_ASKED = Question(
    select(*_ALL).where(
        Link.slot == bindparam("slot"),
        Link.id == bindparam("link"),
        Link.workspace_id == bindparam("workspace"),
        Link.deleted_at.is_(None),
    )
)


def ask_link(connection: ReadOnce, workspace: int, slot: int, identifier: int) -> Any | None:
    """A link that is not deleted."""
    return connection.ask_one(_ASKED, workspace=workspace, slot=slot, link=identifier)


def get_link(
    session: ReadSession, workspace: int, slot: int, identifier: int, *, lock: bool = False
) -> AnyRow | None:
    """A link that is not deleted; locked until the transaction ends, if asked."""
    statement = select(*_ALL, Link.workspace_id).where(
        Link.slot == slot,
        Link.id == identifier,
        Link.workspace_id == workspace,
        Link.deleted_at.is_(None),
    )
    if lock:
        statement = statement.with_for_update(of=Link)
    return session.execute(statement).one_or_none()


def link_exists(
    session: ReadSession, workspace: int, slot: int, identifier: int, *, deleted: bool
) -> bool:
    """Whether the workspace has this link; with `deleted` also whether it had."""
    statement = select(Link.id).where(
        Link.slot == slot, Link.id == identifier, Link.workspace_id == workspace
    )
    if not deleted:
        statement = statement.where(Link.deleted_at.is_(None))
    return session.execute(statement).first() is not None


def insert_links(session: WriteSession, rows: Sequence[Mapping[str, Any]]) -> Sequence[AnyRow]:
    """Insert those whose slug, and id, are free; the links that came to be, in any order."""
    statement = upsert(Link).on_conflict_do_nothing().returning(*_NEW)
    made = session.execute(statement, list(rows)).all()
    inserted = {link.id for link in made}
    tags = [
        {"slot": row["slot"], "link_id": row["id"], "workspace_id": row["workspace_id"], "tag": tag}
        for row in rows
        if row["id"] in inserted
        for tag in row["tags"]
    ]
    if tags:
        session.execute(insert(LinkTag), tags)
    return made


_ROW = (
    "slot id workspace_id domain slug url title tags starts_at expires_at max_clicks password_hash"
    " redirect_status forward_query enabled created_at updated_at"
).split()


def _insertion() -> Command:
    """One link and its tags, in one statement."""
    columns = {name: bindparam(name, type_=getattr(Link, name).type) for name in _ROW}
    made = (
        upsert(Link)
        .values({**columns, "custom": cast(bindparam("custom", type_=Text), JSONB)})
        .on_conflict_do_nothing()
        .returning(*_NEW, Link.slot, Link.workspace_id)
        .cte("made")
    )
    tag = func.unnest(made.c.tags)
    tagged = insert(LinkTag).from_select(
        ["slot", "link_id", "workspace_id", "tag"],
        select(made.c.slot, made.c.id, made.c.workspace_id, tag),
    )
    return Command(select(made).add_cte(tagged.cte("tagged")))


_INSERTION = _insertion()


def insert_link(connection: WriteOnce, row: Mapping[str, Any]) -> Sequence[Any]:
    """Insert a link if its slug, and id, are free; none where they are not."""
    custom = orjson.dumps(row["custom"]).decode()
    return connection.run(_INSERTION, **{**row, "custom": custom})


def find_holders(session: ReadSession, slugs: Sequence[tuple[int, str, str]]) -> Sequence[AnyRow]:
    """The links, deleted ones too, that hold these (slot, domain, slug); any workspace's, as slugs
    are public."""
    slots, domains, names = zip(*slugs, strict=True)
    wanted = (
        func.unnest(
            cast(list(slots), ARRAY(SmallInteger)),
            cast(list(domains), ARRAY(Text)),
            cast(list(names), ARRAY(Text)),
        )
        .table_valued("slot", "domain", "slug", name="wanted")
        .render_derived()
    )
    columns = wanted.c
    here = (
        (Link.slot == columns.slot) & (Link.domain == columns.domain) & (Link.slug == columns.slug)
    )
    return session.execute(
        select(
            Link.slot, Link.domain, Link.slug, Link.id, Link.workspace_id, Link.deleted_at
        ).join_from(wanted, Link, here)
    ).all()


def find_by_url(
    session: ReadSession, workspace: int, domain: str, url: str, limit: int
) -> Sequence[AnyRow]:
    """Links of the workspace to exactly this address, the oldest first."""
    statement = (
        select(*_ALL)
        .where(
            Link.workspace_id == workspace,
            func.md5(Link.url) == func.md5(url),
            Link.url == url,
            Link.domain == domain,
            Link.deleted_at.is_(None),
            *session.owned(Link.slot),
        )
        .order_by(Link.id)
        .limit(limit)
    )
    return session.execute(statement).all()


def update_link(
    session: WriteSession, workspace: int, slot: int, identifier: int, values: Mapping[str, Any]
) -> None:
    """Change a link that the transaction holds locked, and make its version the next."""
    session.execute(
        update(Link)
        .where(Link.slot == slot, Link.id == identifier, Link.workspace_id == workspace)
        .values({**values, "version": Link.version + 1, "updated_at": func.now()})
    )
    if "tags" in values:
        session.execute(delete(LinkTag).where(LinkTag.slot == slot, LinkTag.link_id == identifier))
        rows = [
            {"slot": slot, "link_id": identifier, "workspace_id": workspace, "tag": tag}
            for tag in values["tags"]
        ]
        if rows:
            session.execute(insert(LinkTag), rows)


def set_title(
    session: WriteSession, workspace: int, slot: int, identifier: int, url: str, title: str
) -> bool:
    """Give a link a title if it has none and leads to `url`, as a change like any other."""
    return (
        session.execute(
            update(Link)
            .where(
                Link.slot == slot,
                Link.id == identifier,
                Link.workspace_id == workspace,
                Link.url == url,
                Link.title.is_(None),
                Link.deleted_at.is_(None),
            )
            .values(title=title, version=Link.version + 1, updated_at=func.now())
        ).rowcount
        == 1
    )


def mark_deleted(session: WriteSession, workspace: int, slot: int, identifier: int) -> None:
    """Delete a link but keep its slug taken."""
    session.execute(
        update(Link)
        .where(Link.slot == slot, Link.id == identifier, Link.workspace_id == workspace)
        .values(deleted_at=func.now(), version=Link.version + 1)
    )
    session.execute(delete(LinkTag).where(LinkTag.slot == slot, LinkTag.link_id == identifier))


def delete_deleted(session: WriteSession, workspace: int, identifiers: Sequence[int]) -> None:
    """Free the slugs of deleted links."""
    session.execute(
        delete(Link).where(
            Link.slot.in_(sorted(set(map(slot_of_id, identifiers)))),
            Link.id.in_(identifiers),
            Link.workspace_id == workspace,
            Link.deleted_at.is_not(None),
        )
    )


def get_clicks(session: ReadSession, slot: int, identifier: int) -> int:
    """All clicks of a link so far."""
    statement = select(LinkTotal.clicks).where(
        LinkTotal.slot == slot, LinkTotal.link_id == identifier
    )
    return session.execute(statement).scalar_one_or_none() or 0


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
