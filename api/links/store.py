"""Queries on links."""

from __future__ import annotations

import itertools
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    SmallInteger,
    Text,
    Update,
    and_,
    any_,
    bindparam,
    case,
    cast,
    column,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB
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


def lock_links(
    session: WriteSession, workspace: int, identifiers: Iterable[int]
) -> Sequence[AnyRow]:
    """Links that are not deleted, locked until the transaction ends.

    In one order everywhere: two who want the same links then wait for each other in turn.
    """
    wanted = _these(identifiers)
    statement = (
        select(*_ALL)
        .join_from(wanted, Link, _is_of(wanted.c))
        .where(Link.workspace_id == workspace, Link.deleted_at.is_(None))
        .order_by(Link.slot, Link.id)
        .with_for_update(of=Link)
    )
    return session.execute(statement).all()


def _these(identifiers: Iterable[int]) -> Any:
    """Links by their keys, as a table: one text of SQL for any number of them."""
    links = sorted(identifiers)
    return (
        func.unnest(
            cast(list(map(slot_of_id, links)), ARRAY(SmallInteger)),
            cast(links, ARRAY(BigInteger)),
        )
        .table_valued("slot", "id", name="wanted")
        .render_derived()
    )


def _is_of(wanted: Any) -> ColumnElement[bool]:
    return and_(Link.slot == wanted.slot, Link.id == wanted.id)


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


_ROW = (
    "slot id workspace_id domain slug url title tags starts_at expires_at max_clicks password_hash"
    " redirect_status forward_query enabled created_at updated_at"
).split()


def _tagged(made: Any, *told: Any) -> Any:
    """What to select of links that are made, or only what shall be `told` of them; it makes their
    tags, too: one statement for all."""
    tagged = insert(LinkTag).from_select(
        ["slot", "link_id", "workspace_id", "tag"],
        select(made.c.slot, made.c.id, made.c.workspace_id, func.unnest(made.c.tags)),
    )
    return select(*(told or [made])).add_cte(tagged.cte("tagged"))


def _insertion() -> Command:
    """One link and its tags."""
    columns = {name: bindparam(name, type_=getattr(Link, name).type) for name in _ROW}
    made = (
        upsert(Link)
        .values({**columns, "custom": cast(bindparam("custom", type_=Text), JSONB)})
        .on_conflict_do_nothing()
        .returning(*_NEW, Link.slot, Link.workspace_id)
        .cte("made")
    )
    return Command(_tagged(made))


def _insertion_of_many() -> Any:
    names = [*_ROW, "custom"]
    new = (
        func.json_to_recordset(cast(bindparam("rows", type_=Text), JSON))
        .table_valued(*(column(name, getattr(Link, name).type) for name in names), name="new")
        .render_derived(with_types=True)
    )
    # Sorted, so that two who want the same slugs wait for each other in turn.
    rows = select(*(new.c[name] for name in names)).order_by(new.c.slot, new.c.domain, new.c.slug)
    made = (
        upsert(Link)
        .from_select(names, rows)
        .on_conflict_do_nothing()
        .returning(Link.slot, Link.id, Link.workspace_id, Link.tags, Link.custom)
        .cte("made")
    )
    # PostgreSQL writes numbers in its own way. All else is as it was given.
    return _tagged(made, made.c.id, func.nullif(made.c.custom, cast("{}", JSONB)))


_INSERTION = _insertion()
_INSERTION_OF_MANY = _insertion_of_many()
_NEW_NAMES = [str(column.key) for column in _NEW]
_NewLink: Any = namedtuple("_NewLink", _NEW_NAMES)  # type: ignore[misc] # known only now
_new_values = itemgetter(*_NEW_NAMES)


def insert_link(connection: WriteOnce, row: Mapping[str, Any]) -> Sequence[Any]:
    """Insert a link if its slug, and id, are free; none where they are not."""
    custom = orjson.dumps(row["custom"]).decode()
    return connection.run(_INSERTION, **{**row, "custom": custom})


def insert_links(session: WriteSession, rows: Sequence[Mapping[str, Any]]) -> Sequence[AnyRow]:
    """Insert those whose slug, and id, are free, each with its tags; the links that came to be, in
    the order of the rows."""
    given = {"rows": orjson.dumps(list(rows)).decode()}
    made = dict(map(tuple, session.execute(_INSERTION_OF_MANY, given)))
    return [_new_link(row, made[row["id"]] or {}) for row in rows if row["id"] in made]


def _new_link(row: Mapping[str, Any], custom: Mapping[str, Any]) -> Any:
    """What would be read of a link that was just made: to send it all back would take longer."""
    own = {"version": 1, "uses": 0, "clicks": 0, "custom": custom}
    has = {"has_password": row["password_hash"] is not None}
    return _NewLink._make(_new_values({**row, **own, **has}))


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


_CHANGEABLE = (
    "url title tags starts_at expires_at max_clicks uses password_hash redirect_status"
    " forward_query enabled custom"
).split()


def _changing() -> Update:
    """The change of many links, each of other columns, in one statement."""
    columns = {name: getattr(Link, name) for name in _CHANGEABLE}
    new = (
        func.json_to_recordset(cast(bindparam("changes", type_=Text), JSON))
        .table_valued(
            column("slot", SmallInteger),
            column("id", BigInteger),
            # Which columns are set: null may be a value, too.
            column("names", ARRAY(Text)),
            *(column(name, it.type) for name, it in columns.items()),
            name="new",
        )
        .render_derived(with_types=True)
    )
    values = {
        it: case((literal(name) == any_(new.c.names), new.c[name]), else_=it)
        for name, it in columns.items()
    }
    return (
        update(Link)
        .where(_is_of(new.c), Link.workspace_id == bindparam("workspace"))
        .values({**values, Link.version: Link.version + 1, Link.updated_at: func.now()})
        .returning(*_ALL)
    )


_CHANGE = _changing()


def update_links(
    session: WriteSession, workspace: int, changes: Mapping[int, Mapping[str, Any]]
) -> Sequence[AnyRow]:
    """Change links that the transaction holds locked, each by what its id stands for, and make
    their versions the next; the links as they are then."""
    rows = [
        {"slot": slot_of_id(identifier), "id": identifier, "names": list(values), **values}
        for identifier, values in changes.items()
    ]
    given = {"workspace": workspace, "changes": orjson.dumps(rows).decode()}
    changed = session.execute(_CHANGE, given).all()
    tags = {link: values["tags"] for link, values in changes.items() if "tags" in values}
    if tags:
        delete_tags(session, tags)
    rows = [
        {"slot": slot_of_id(link), "link_id": link, "workspace_id": workspace, "tag": tag}
        for link, those in tags.items()
        for tag in those
    ]
    if rows:
        session.execute(insert(LinkTag), rows)
    return changed


def delete_tags(session: WriteSession, identifiers: Iterable[int]) -> None:
    """Delete the tags of links."""
    wanted = _these(identifiers)
    session.execute(
        delete(LinkTag).where(LinkTag.slot == wanted.c.slot, LinkTag.link_id == wanted.c.id)
    )


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


def mark_deleted(session: WriteSession, workspace: int, identifiers: Sequence[int]) -> None:
    """Delete links but keep their slugs taken."""
    wanted = _these(identifiers)
    session.execute(
        update(Link)
        .where(_is_of(wanted.c), Link.workspace_id == workspace)
        .values(deleted_at=func.now(), version=Link.version + 1)
    )
    delete_tags(session, identifiers)


def delete_deleted(session: WriteSession, workspace: int, identifiers: Sequence[int]) -> None:
    """Free the slugs of deleted links, which have no tags any more."""
    session.execute(
        delete(Link).where(
            Link.slot.in_(sorted(set(map(slot_of_id, identifiers)))),
            Link.id.in_(identifiers),
            Link.workspace_id == workspace,
            Link.deleted_at.is_not(None),
        )
    )
