"""What the consumer clears away between clicks, once an hour and in small batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from api.clicks import store
from api.core.database.routing import Database

log = logging.getLogger(__name__)

_EVERY_SECONDS = 3600.0
_AFTER_FAILURE_SECONDS = 60.0
_SEGMENTS_AT_ONCE = 1_000
# Far longer than any spool or queue keeps a segment.
_REMEMBER_SEGMENTS = timedelta(days=30)


class Housekeeping:
    """Runs chores when they are due; each deletes a bounded number and says how many."""

    def __init__(
        self, chores: dict[str, Callable[[], int]], every_seconds: float = _EVERY_SECONDS
    ) -> None:
        self._chores = chores
        self._every_seconds = every_seconds
        self._due = dict.fromkeys(chores, time.monotonic())

    def __call__(self) -> None:
        """Do one batch of each chore that is due; one that found nothing waits for its time.

        A chore that fails stops nothing else: clicks are counted all the same.
        """
        now = time.monotonic()
        for name, chore in self._chores.items():
            if now < self._due[name]:
                continue
            try:
                deleted = chore()
            except Exception:
                log.exception("%s failed", name)
                self._due[name] = now + _AFTER_FAILURE_SECONDS
                continue
            if deleted:
                log.info("%s: %d deleted", name, deleted)
            else:
                self._due[name] = now + self._every_seconds


def forget_segments(db: Database) -> int:
    """Delete a bounded number of segment ids that nobody can deliver any more; how many."""
    with db.write(0) as session:
        return store.delete_segments(session, _REMEMBER_SEGMENTS, _SEGMENTS_AT_ONCE)
