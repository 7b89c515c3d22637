"""Queries on the audit log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Text,
    bindparam,
    cast,
    column,
    func,
    insert,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB

from api.audit.models import Event
from api.core.database.prepared import Command, WriteOnce
from api.core.database.routing import ReadSession
from api.core.database.sessions import AnyRow

_COLUMNS = {it.key: getattr(Event, it.key) for it in Event.__table__.columns}


# A commit of events waits for no disk: the change that they tell of is on it already, and to wait
# once more would double what a change costs. Of a server that loses its power, the events of its
# last fraction of a second may be lost (`synchronous_commit` in PostgreSQL's manual).
_SOON = select(func.set_config("synchronous_commit", "off", true()).label("mode")).cte("soon")


def _insertion() -> Command:
    """One event: this is part of every change, and half as much again as one of many."""
    values: dict[str, Any] = {
        name: bindparam(name, type_=column.type) for name, column in _COLUMNS.items()
    }
    values["details"] = cast(bindparam("details", type_=Text), JSONB)
    mode = select(_SOON.c.mode).scalar_subquery().label("mode")
    return Command(insert(Event).values(values).returning(Event.id, mode))


def _insertion_of_many() -> Command:
    given = (
        func.json_to_recordset(cast(bindparam("own", type_=Text), JSON))
        .table_valued(*(column(name, _COLUMNS[name].type) for name in _OWN), name="given")
        .render_derived(with_types=True)
    )
    shared = {name: it for name, it in _COLUMNS.items() if name not in _OWN}
    values = [cast(bindparam(name, type_=Text), it.type) for name, it in shared.items()]
    rows = select(*(given.c[name] for name in _OWN), *values)
    rows = rows.select_from(given.join(_SOON, true()))
    return Command(insert(Event).from_select([*_OWN, *shared], rows).returning(Event.id))


# What differs between events that are written together.
_OWN = ("id", "workspace_id", "at", "action", "target_kind", "target_id")
_INSERTION = _insertion()
_INSERTION_OF_MANY = _insertion_of_many()


def insert_events(
    connection: WriteOnce, shared: Mapping[str, Any], own: Sequence[Mapping[str, Any]]
) -> None:
    """Append events, all of them or none: what they have in common, and what each has."""
    given = {**shared, "details": orjson.dumps(shared["details"]).decode()}
    if len(own) == 1:
        connection.run(_INSERTION, **given, **own[0])
    else:
        connection.run(_INSERTION_OF_MANY, **given, own=orjson.dumps(own).decode())


def find_events(
    session: ReadSession,
    workspace: int | None,
    conditions: Sequence[ColumnElement[bool]],
    limit: int,
) -> Sequence[AnyRow]:
    """Events of a workspace, or those of none, newest first."""
    statement = select(*_COLUMNS.values()).where(Event.workspace_id == workspace, *conditions)
    return session.execute(statement.order_by(Event.id.desc()).limit(limit)).all()


def find_events_of_all(
    session: ReadSession, conditions: Sequence[ColumnElement[bool]], limit: int
) -> Sequence[AnyRow]:
    """Events of all workspaces and of none, newest first: an operator's view."""
    statement = select(*_COLUMNS.values()).where(*conditions)
    return session.execute(statement.order_by(Event.id.desc()).limit(limit)).all()


def conditions_of(
    *,
    action: str | None = None,
    actor: tuple[str, str] | None = None,
    target: tuple[str, str] | None = None,
    from_id: int | None = None,
    before_id: int | None = None,
) -> Iterator[ColumnElement[bool]]:
    """What a list of events is narrowed by; actor and target are kind and id."""
    if action is not None:
        yield Event.action == action
    if actor is not None:
        yield Event.actor_kind == actor[0]
        yield Event.actor_id == actor[1]
    if target is not None:
        yield Event.target_kind == target[0]
        yield Event.target_id == target[1]
    if from_id is not None:
        yield Event.id >= from_id
    if before_id is not None:
        yield Event.id < before_id
