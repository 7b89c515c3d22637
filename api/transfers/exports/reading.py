"""Reads the rows of an export, through cursors that are opened anew now and then.

A transaction as long as the slowest reader takes would keep PostgreSQL from cleaning up, and a
replica from following. So a cursor lives for a while, and the next begins after the last row that
was given; just so after a failure, when another server may have taken over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack

from api.core.database.routing import Database
from api.core.database.sessions import AnyRow
from api.core.errors import Unavailable
from api.transfers.exports.kinds import Batch, Kind, Place
from api.transfers.exports.merging import merged

log = logging.getLogger(__name__)

_CURSOR_SECONDS = 30.0
# For so long a database that fails on the way is asked again: a failover takes its time.
_PATIENCE_SECONDS = 20.0
_PAUSE_SECONDS = 0.5


class Reader:
    """Gives the rows after a place, and knows up to where it has."""

    def __init__(
        self, db: Database, workspace: int, kind: Kind, after: Place, *, idle_seconds: float
    ) -> None:
        """`idle_seconds`: for how long whoever takes the rows may do something else."""
        self.place = after
        self._db = db
        self._workspace = workspace
        self._kind = kind
        self._idle_seconds = idle_seconds
        # Since when nothing came, after something had.
        self._failing_since: float | None = None

    def batches(self) -> Generator[Sequence[AnyRow]]:
        """All rows, some at a time; now and then none, so that the taker can look around.

        Raises:
            Unavailable: a database is away, at the beginning or for long.
        """
        began = False
        while True:
            until = time.monotonic() + _CURSOR_SECONDS
            try:
                with ExitStack() as stack:
                    for rows, place in merged(self._open(stack)):
                        began, self._failing_since, self.place = True, None, place
                        yield rows
                        if time.monotonic() > until:
                            break
                    else:
                        return
            except Unavailable as error:
                if not began or self._failed_for() > _PATIENCE_SECONDS:
                    raise
                log.warning("an export is read on after a failure: %s", error)
                yield ()
                time.sleep(_PAUSE_SECONDS)

    def _open(self, stack: ExitStack) -> list[Iterator[Batch]]:
        """A cursor on each shard that has links, in transactions that end with `stack`."""
        slots = self._db.slots()
        owners = set(slots.owners)
        sessions = [
            stack.enter_context(self._db.read_shard(name, self._workspace, slots=slots))
            for name in slots.shards
            if name in owners
        ]
        return [self._kind.read(session, self.place, self._idle_seconds) for session in sessions]

    def _failed_for(self) -> float:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        return now - self._failing_since
