"""Writes and reads the audit log."""

from __future__ import annotations

import getpass
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from psycopg2.errors import UniqueViolation

from api.audit import store
from api.audit.names import Names
from api.core.database.routing import Database
from api.core.database.sessions import AnyRow
from api.core.events import AuditEvent, Thing
from api.core.ids import first_id_at, new_id
from api.core.pagination import Cursors

log = logging.getLogger(__name__)

_DIRECTORY_SLOT = 0
_TRIES = 5
_PAGE = 500


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are asked for; `actor` and `target` are kind and id."""

    action: str | None = None
    actor: tuple[str, str] | None = None
    target: tuple[str, str] | None = None
    after: datetime | None = None
    before: datetime | None = None


class AuditLog:
    """The audit log. PostgreSQL itself refuses to change or to delete what is in it."""

    def __init__(
        self,
        db: Database,
        secret: bytes,
        request_facts: Callable[[], tuple[str | None, str | None]] = lambda: (None, None),
    ) -> None:
        """`request_facts` tells the address and the id of the running request."""
        self._db = db
        self._cursors = Cursors(secret, "audit-events")
        self._request_facts = request_facts
        self.names = Names()
        # Events that could not be written, of this process.
        self.lost = 0

    def record(self, *events: AuditEvent) -> bool:
        """Write events about what is committed already; False where that failed.

        Then what they say stands in the log of errors, all of it: the changes were made, and
        nobody would know.
        """
        if not events:
            return True
        # Once for all: a batch of links has a thousand.
        facts = self._request_facts()
        rows = [self._row_of(event, facts) for event in events]
        try:
            self._insert(rows)
        except Exception as error:
            self.lost += len(rows)
            for row in rows:
                told = orjson.dumps(row, default=str).decode()
                log.error("an audit event was not written (%s): %s", _reason(error), told)
            return False
        return True

    def record_operator(
        self,
        action: str,
        workspace: int | None = None,
        target: Thing | None = None,
        **details: Any,
    ) -> bool:
        """The same about what a script has done for whoever runs it."""
        return self.record(AuditEvent(action, operator(), workspace, None, target, details=details))

    def list_events(
        self, workspace: int, which: EventFilter, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[AnyRow], str | None]:
        """A page of a workspace's events, newest first, and the cursor of the next."""
        question = ("audit-events", workspace, *astuple(which))
        end = first_id_at(which.before) if which.before else None
        if cursor is not None:
            end = self._cursors.read(cursor, question)[0]
        conditions = store.conditions_of(
            action=which.action,
            actor=which.actor,
            target=which.target,
            from_id=first_id_at(which.after) if which.after else None,
            before_id=end,
        )
        with self._db.read_directory() as session:
            rows = store.find_events(session, workspace, list(conditions), limit + 1)
        page = rows[:limit]
        more = len(rows) > limit
        return page, self._cursors.write(question, [page[-1].id]) if more else None

    def stream_all(
        self, *, after: datetime | None, before: datetime | None, installation: bool = False
    ) -> Iterator[AnyRow]:
        """Events of all workspaces and of none, newest first, or with `installation` of none
        alone; only for operators."""
        end = first_id_at(before) if before else None
        start = first_id_at(after) if after else None
        while True:
            conditions = list(store.conditions_of(from_id=start, before_id=end))
            with self._db.read_directory() as session:
                if installation:
                    page = store.find_events(session, None, conditions, _PAGE)
                else:
                    page = store.find_events_of_all(session, conditions, _PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            end = page[-1].id

    def _insert(self, rows: Sequence[dict[str, Any]]) -> None:
        for tries_left in reversed(range(_TRIES)):
            for row in rows:
                row["id"] = new_id(_DIRECTORY_SLOT)
            try:
                with self._db.write_directory_once(noted=False) as connection:
                    store.insert_events(connection, rows)
                return
            except UniqueViolation:  # another process has made the same id
                if not tries_left:
                    raise

    def _row_of(
        self, event: AuditEvent, request_facts: tuple[str | None, str | None]
    ) -> dict[str, Any]:
        address, request_id = event.address, event.request_id
        if address is None and request_id is None:
            address, request_id = request_facts
        via, target = event.via or _NOTHING, event.target or _NOTHING
        return {
            "workspace_id": event.workspace_id,
            "at": datetime.now(UTC),
            "action": event.action,
            "actor_kind": event.actor.kind,
            "actor_id": event.actor.id,
            "actor_name": self.names.of(event.actor),
            "via_kind": via.kind or None,
            "via_id": via.id,
            "target_kind": target.kind or None,
            "target_id": target.id,
            "address": address,
            "request_id": request_id,
            "details": dict(event.details),
        }


_NOTHING = Thing("")


def operator() -> Thing:
    """Who runs a script, by the name that they have on this machine."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        name = f"uid {os.getuid()}"
    return Thing("operator", None, name)


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
