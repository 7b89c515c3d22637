"""Queries on block rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import bindparam, column, delete, func, select, table, text
from sqlalchemy.dialects.postgresql import insert

from api.core.database.prepared import Question, ReadOnce
from api.core.database.routing import ReadSession, WriteSession
from api.core.database.sessions import AnyRow
from api.targets.rules import INSTALLATION, Block, Rule

# Named here and not imported: every process judges targets, also those that need no other table.
_RULES = table(
    "target_rules",
    *map(column, ("id", "workspace_id", "owner_id", "kind", "value", "status", "reason")),
    column("created_at"),
)
_CHANGES = table("target_rule_changes", column("owner_id"), column("version"), column("rules"))
_Rule, _Change = _RULES.c, _CHANGES.c
_COLUMNS = (_Rule.id, _Rule.kind, _Rule.value, _Rule.status, _Rule.reason, _Rule.created_at)
_PAGE = 2_000

# From the change that is known already, which tells whether this is still the same history.
_CHANGED = Question(
    select(_Change.owner_id, _Change.version)
    .where(_Change.version >= bindparam("version"))
    .order_by(_Change.version)
)
_OWN = Question(
    select(*_COLUMNS)
    .where(_Rule.owner_id == bindparam("owner"), _Rule.id > bindparam("after"))
    .order_by(_Rule.id)
    .limit(_PAGE)
)


def ask_changes(connection: ReadOnce, version: int) -> list[Any]:
    """Whose rules were changed since `version`, and with which one; that of `version` too."""
    return connection.ask(_CHANGED, version=version)


def ask_rules(connection: ReadOnce, owner: int, after: int) -> tuple[list[Rule], int | None]:
    """A page of an owner's rules behind the id `after`, and the id that it ends with; None where
    it is the last."""
    rows = connection.ask(_OWN, owner=owner, after=after)
    return [rule_of(row) for row in rows], rows[-1].id if len(rows) == _PAGE else None


def rule_of(row: Any) -> Rule:
    """The rule in a row."""
    return Rule(row.kind, row.value, Block(row.status, row.reason))


def get_rule(session: ReadSession, owner: int, identifier: int) -> AnyRow | None:
    """One rule of an owner."""
    return session.execute(
        select(*_COLUMNS).where(_Rule.owner_id == owner, _Rule.id == identifier)
    ).one_or_none()


def find_rules(
    session: ReadSession, owner: int, before_id: int | None, limit: int
) -> Sequence[AnyRow]:
    """Rules of an owner, the newest first."""
    statement = select(*_COLUMNS).where(_Rule.owner_id == owner)
    if before_id is not None:
        statement = statement.where(_Rule.id < before_id)
    return session.execute(statement.order_by(_Rule.id.desc()).limit(limit)).all()


def stream_rules(session: ReadSession, owner: int) -> Iterator[AnyRow]:
    """All rules of an owner, the oldest first."""
    after = -1
    while True:
        statement = select(*_COLUMNS).where(_Rule.owner_id == owner, _Rule.id > after)
        rows = session.execute(statement.order_by(_Rule.id).limit(_PAGE)).all()
        yield from rows
        if len(rows) < _PAGE:
            return
        after = rows[-1].id


def lock_changes(session: WriteSession) -> None:
    """Let nobody else change rules until the transaction ends: versions must be in the order of
    commits, or a process that saw the later one would never look for the earlier one."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtext("target_rules"))))


def count_rules(session: ReadSession, owner: int) -> tuple[int, int]:
    """How many rules an owner has, and how many of them are patterns."""
    patterns = func.count().filter(_Rule.kind == "pattern")
    row = session.execute(
        select(func.count(), patterns).select_from(_RULES).where(_Rule.owner_id == owner)
    ).one()
    return row[0], row[1]


def count_all(session: ReadSession) -> int:
    """How many rules there are of all owners together."""
    return session.scalar(select(func.coalesce(func.sum(_Change.rules), 0))) or 0


def insert_rules(
    session: WriteSession, owner: int, rules: Sequence[tuple[int, Rule]]
) -> Sequence[AnyRow]:
    """Insert those that the owner has not yet, each with its id; the rows that came to be."""
    rows = [
        {
            "id": identifier,
            "workspace_id": None if owner == INSTALLATION else owner,
            "kind": rule.kind,
            "value": rule.value,
            "status": rule.block.status,
            "reason": rule.block.reason,
        }
        for identifier, rule in rules
    ]
    statement = (
        insert(_RULES)
        .on_conflict_do_nothing(index_elements=["owner_id", "kind", "value"])
        .returning(*_COLUMNS)
    )
    return session.execute(statement, rows).all()


def delete_rule(session: WriteSession, owner: int, identifier: int) -> AnyRow | None:
    """Delete one rule; what it was, None where there was none."""
    statement = (
        delete(_RULES)
        .where(_Rule.owner_id == owner, _Rule.id == identifier)
        .returning(_Rule.kind, _Rule.value)
    )
    return session.execute(statement).one_or_none()


def delete_values(session: WriteSession, owner: int, kind: str, values: Sequence[str]) -> int:
    """Delete the rules of these values; how many there were."""
    return session.execute(
        delete(_RULES).where(_Rule.owner_id == owner, _Rule.kind == kind, _Rule.value.in_(values))
    ).rowcount


def delete_all(session: WriteSession, owner: int) -> int:
    """Delete all rules of an owner; how many there were."""
    return session.execute(delete(_RULES).where(_Rule.owner_id == owner)).rowcount


_NOTE = text(
    """
    INSERT INTO target_rule_changes AS held (owner_id, version, rules)
    SELECT :owner, (SELECT coalesce(max(version), 0) + 1 FROM target_rule_changes),
           (SELECT count(*) FROM target_rules WHERE owner_id = :owner)
    ON CONFLICT (owner_id) DO UPDATE SET version = excluded.version, rules = excluded.rules
    """
)


def note_change(session: WriteSession, owner: int) -> None:
    """Let processes find that the rules of an owner were changed; the changes must be locked."""
    session.execute(_NOTE, {"owner": owner})
