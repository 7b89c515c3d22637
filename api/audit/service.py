"""Writes and reads the audit log."""

from __future__ import annotations

import getpass
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from psycopg2.errors import UniqueViolation

from api.audit import store
from api.audit.names import Names
from api.core.database.routing import Database
from api.core.database.sessions import AnyRow
from api.core.events import AuditEvent, Change, Thing
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

    def record(self, event: AuditEvent, changes: Iterable[Change] | None = None) -> bool:
        """Write an event about what is committed already, or one like it about each of several
        changes; False where that failed.

        Then what they say stands in the log of errors, all of it: the changes were made, and
        nobody would know.
        """
        if changes is None:
            changes = [Change(event.action, event.target)]
        at = datetime.now(UTC)
        own = [_own_of(event, change, at) for change in changes]
        if not own:
            return True
        shared = self._shared_of(event)
        try:
            self._insert(shared, own)
        except Exception as error:
            self.lost += len(own)
            for row in own:
                told = orjson.dumps(shared | row, default=str).decode()
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

    def _insert(self, shared: Mapping[str, Any], own: Sequence[dict[str, Any]]) -> None:
        for tries_left in reversed(range(_TRIES)):
            for row in own:
                row["id"] = new_id(_DIRECTORY_SLOT)
            try:
                with self._db.write_directory_once(noted=False) as connection:
                    store.insert_events(connection, shared, own)
                return
            except UniqueViolation:  # another process has made the same id
                if not tries_left:
                    raise

    def _shared_of(self, event: AuditEvent) -> dict[str, Any]:
        """What an event says of all changes alike."""
        address, request_id = event.address, event.request_id
        if address is None and request_id is None:
            address, request_id = self._request_facts()
        via = event.via or _NOTHING
        return {
            "actor_kind": event.actor.kind,
            "actor_id": event.actor.id,
            "actor_name": self.names.of(event.actor),
            "via_kind": via.kind or None,
            "via_id": via.id,
            "address": address,
            "request_id": request_id,
            "details": dict(event.details),
        }


def _own_of(event: AuditEvent, change: Change, at: datetime) -> dict[str, Any]:
    """What it says of one; the id comes later."""
    target = change.target or _NOTHING
    return {
        "workspace_id": change.workspace_id or event.workspace_id,
        "at": at,
        "action": change.action,
        "target_kind": target.kind or None,
        "target_id": target.id,
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
