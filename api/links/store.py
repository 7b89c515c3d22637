"""Queries on links."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from api.core.database.routing import ReadSession, WriteSession
from api.core.ids import slot_of_id
from api.links.models import Link, LinkTag, LinkTotal

CLICKS = func.coalesce(LinkTotal.clicks, 0).label("clicks")

# The columns that each field of the answer is made of.
COLUMNS: dict[str, tuple[ColumnElement[Any], ...]] = {
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
    "metadata": (Link.custom,),
    "clicks": (CLICKS,),
    "created_at": (Link.created_at,),
    "updated_at": (Link.updated_at,),
}


def columns_of(fields: Iterable[str]) -> list[ColumnElement[Any]]:
    """What to select for these fields of the answer; always id, version and the sort keys."""
    chosen: dict[str, ColumnElement[Any]] = {
        column.key: column for column in (Link.id, Link.version, Link.updated_at)
    }
    for field in fields:
        for column in COLUMNS[field]:
            chosen.setdefault(column.key, column)
    return list(chosen.values())


_ALL = columns_of(COLUMNS)


def with_totals(statement: Select[Any]) -> Select[Any]:
    """Join the click totals, which a link without clicks has none of."""
    return statement.outerjoin(
        LinkTotal, (LinkTotal.slot == Link.slot) & (LinkTotal.link_id == Link.id)
    )


def get_link(
    session: ReadSession, workspace: int, slot: int, identifier: int, *, lock: bool = False
) -> Row[Any] | None:
    """A link that is not deleted; locked until the transaction ends, if asked."""
    statement = with_totals(select(*_ALL, Link.workspace_id).select_from(Link)).where(
        Link.slot == slot,
        Link.id == identifier,
        Link.workspace_id == workspace,
        Link.deleted_at.is_(None),
    )
    if lock:
        statement = statement.with_for_update(of=Link)
    return session.execute(statement).one_or_none()


def get_links(
    session: ReadSession, workspace: int, identifiers: Sequence[int]
) -> Sequence[Row[Any]]:
    """Links of one shard by their ids."""
    slots = sorted({slot_of_id(identifier) for identifier in identifiers})
    statement = with_totals(select(*_ALL).select_from(Link)).where(
        Link.slot.in_(slots), Link.id.in_(identifiers), Link.workspace_id == workspace
    )
    return session.execute(statement).all()


def link_exists(session: ReadSession, workspace: int, slot: int, identifier: int) -> bool:
    """Whether the workspace has this link."""
    statement = select(Link.id).where(
        Link.slot == slot,
        Link.id == identifier,
        Link.workspace_id == workspace,
        Link.deleted_at.is_(None),
    )
    return session.execute(statement).first() is not None


def insert_links(session: WriteSession, rows: Sequence[Mapping[str, Any]]) -> set[int]:
    """Insert those whose slug, and id, are free; the ids of the inserted ones."""
    statement = upsert(Link).on_conflict_do_nothing().returning(Link.id)
    inserted = set(session.execute(statement.values([_mapped(row) for row in rows])).scalars())
    tags = [
        {"slot": row["slot"], "link_id": row["id"], "workspace_id": row["workspace_id"], "tag": tag}
        for row in rows
        if row["id"] in inserted
        for tag in row["tags"]
    ]
    if tags:
        session.execute(insert(LinkTag), tags)
    return inserted


def get_holder(session: ReadSession, slot: int, domain: str, slug: str) -> Row[Any] | None:
    """Who has a slug, and whether that link is deleted; any workspace's, as slugs are public."""
    return session.execute(
        select(Link.id, Link.workspace_id, Link.deleted_at).where(
            Link.slot == slot, Link.domain == domain, Link.slug == slug
        )
    ).one_or_none()


def find_by_url(
    session: ReadSession, workspace: int, domain: str, url: str, limit: int
) -> Sequence[Row[Any]]:
    """Links of the workspace to exactly this address, the oldest first."""
    statement = (
        with_totals(select(*_ALL).select_from(Link))
        .where(
            Link.workspace_id == workspace,
            func.md5(Link.url) == func.md5(url),
            Link.url == url,
            Link.domain == domain,
            Link.deleted_at.is_(None),
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
        .values({**_mapped(values), "version": Link.version + 1, "updated_at": func.now()})
    )
    if "tags" in values:
        session.execute(delete(LinkTag).where(LinkTag.slot == slot, LinkTag.link_id == identifier))
        rows = [
            {"slot": slot, "link_id": identifier, "workspace_id": workspace, "tag": tag}
            for tag in values["tags"]
        ]
        if rows:
            session.execute(insert(LinkTag), rows)


def mark_deleted(session: WriteSession, workspace: int, slot: int, identifier: int) -> None:
    """Delete a link but keep its slug taken."""
    session.execute(
        update(Link)
        .where(Link.slot == slot, Link.id == identifier, Link.workspace_id == workspace)
        .values(deleted_at=func.now(), version=Link.version + 1)
    )
    session.execute(delete(LinkTag).where(LinkTag.slot == slot, LinkTag.link_id == identifier))


def delete_deleted(
    session: WriteSession, workspace: int, slot: int, domain: str, slug: str
) -> None:
    """Free the slug of a deleted link."""
    session.execute(
        delete(Link).where(
            Link.slot == slot,
            Link.domain == domain,
            Link.slug == slug,
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


def find_links(
    session: ReadSession,
    workspace: int,
    *,
    columns: Sequence[ColumnElement[Any]],
    conditions: Sequence[ColumnElement[bool]],
    sort: str,
    after: tuple[Any, ...] | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """A page of links in the order `sort`, beginning after the sort key `after`."""
    statement = select(*columns).select_from(Link)
    if CLICKS in columns:
        statement = with_totals(statement)
    keys: list[ColumnElement[Any]] = [Link.updated_at] if "updated_at" in sort else []
    keys.append(Link.id)
    descending = sort.startswith("-")
    statement = statement.where(
        Link.workspace_id == workspace, Link.deleted_at.is_(None), *conditions
    )
    if after is not None:
        here = tuple_(*keys)
        statement = statement.where(here < after if descending else here > after)
    order = [key.desc() if descending else key.asc() for key in keys]
    return session.execute(statement.order_by(*order).limit(limit)).all()


def has_tag(workspace: int, tag: str) -> ColumnElement[bool]:
    """The condition that a link carries a tag."""
    return (
        select(LinkTag.link_id)
        .where(
            LinkTag.workspace_id == workspace,
            LinkTag.tag == tag,
            LinkTag.link_id == Link.id,
            LinkTag.slot == Link.slot,
        )
        .exists()
    )


def in_state(state: str, now: datetime) -> ColumnElement[bool]:
    """The condition that a link is in a state; the same order of precedence as `state_of`."""
    started = Link.starts_at.is_(None) | (Link.starts_at <= now)
    running = Link.expires_at.is_(None) | (Link.expires_at > now)
    free = Link.max_clicks.is_(None) | (Link.uses < Link.max_clicks)
    conditions: dict[str, ColumnElement[bool]] = {
        "disabled": ~Link.enabled,
        "scheduled": Link.enabled & (Link.starts_at > now),
        "expired": Link.enabled & started & (Link.expires_at <= now),
        "exhausted": Link.enabled
        & started
        & running
        & Link.max_clicks.is_not(None)
        & (Link.uses >= Link.max_clicks),
        "active": Link.enabled & started & running & free,
    }
    return conditions[state]


def matches(workspace: int, words: Sequence[str]) -> ColumnElement[bool]:
    """The condition that every word begins some word of slug, title or address."""
    terms = [f"workspace{workspace}", *(f"'{word}':*" for word in words)]
    return Link.search.op("@@")(func.to_tsquery("simple", " & ".join(terms)))


def _mapped(values: Mapping[str, Any]) -> dict[Any, Any]:
    """Column values by column: `metadata` is called `custom` in Python."""
    return {
        (Link.__table__.c.metadata if name == "custom" else Link.__table__.c[name]): value
        for name, value in values.items()
    }
