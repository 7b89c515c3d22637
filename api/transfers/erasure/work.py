"""Does what erasures are asked for: in a worker, or for an operator who waits for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from api.audit.service import AuditLog
from api.clicks.deletions import erase_workspace
from api.core.database.routing import Database
from api.core.events import NOBODY, AuditEvent, Thing
from api.core.evictions import Evictions
from api.targets.service import BlockedTargets
from api.transfers.erasure import store
from api.transfers.erasure.sweep import Sweep, Swept

log = logging.getLogger(__name__)

# A worker that does not say for so long that it goes on is taken for dead.
_CLAIM = timedelta(seconds=60)
# What was asked before the workspace was shut may go on for so long, and write something.
SETTLE = timedelta(seconds=60)


class Eraser:
    """Erases workspaces, one after the other. May be killed at any time: who comes next begins a
    new sweep, which finds only what is left."""

    def __init__(
        self,
        db: Database,
        evictions: Evictions,
        audit: AuditLog,
        blocked: BlockedTargets,
        settle: timedelta = SETTLE,
    ) -> None:
        self._db = db
        self._evictions = evictions
        self._audit = audit
        self._blocked = blocked
        self._settle = settle

    def work(self, only: int | None = None) -> Iterator[Swept]:
        """Go on with the oldest erasure that nobody works at, or `only` with this one, until it is
        finished or must wait; what each batch has deleted.

        Raises:
            Unavailable: a database is away.
        """
        with self._db.write_directory() as session:
            workspace = store.update_claim(session, _CLAIM, only)
            row = None if workspace is None else store.get_erasure_of(session, workspace)
        if workspace is None or row is None:
            return
        self._keep_clicks_out(workspace)
        while True:
            began, total = datetime.now(UTC), 0
            said = began
            for swept in Sweep(self._db, workspace, self._evictions.publish).run():
                total += swept.rows
                if swept.rows or datetime.now(UTC) - said > _CLAIM / 4:
                    said = datetime.now(UTC)
                    self._note(workspace, {swept.table: swept.rows} if swept.rows else {}, _CLAIM)
                yield swept
            if total:
                continue
            left = row.asked_at + self._settle - began
            if left > timedelta():
                self._note(workspace, {}, left)
                return
            break
        self._finish(workspace)

    def _keep_clicks_out(self, workspace: int) -> None:
        """From here on no click is stored that waits in a spool or a queue."""
        for shard in self._db.shards():
            with self._db.write_shard(shard) as session:
                erase_workspace(session, workspace)

    def _note(self, workspace: int, erased: dict[str, int], life: timedelta) -> None:
        with self._db.write_directory(noted=False) as session:
            store.add_erased(session, workspace, erased, life)

    def _finish(self, workspace: int) -> None:
        """Delete what the erasure itself needed."""
        with self._db.write_directory() as session:
            rules = self._blocked.forget(session, workspace)
            gone = store.delete_workspace(session, workspace)
            store.add_erased(session, workspace, {"target_rules": rules, "workspaces": gone}, None)
            store.update_finished(session, workspace, datetime.now(UTC))
        self._blocked.tell()
        target = Thing("workspace", str(workspace))
        self._audit.record(AuditEvent("workspace.erase", NOBODY, None, None, target))
        log.info("workspace %d is erased", workspace)
