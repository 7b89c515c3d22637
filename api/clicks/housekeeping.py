"""What the consumer clears away, and makes ready, between clicks: in small batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

from api.clicks import store
from api.core.database.routing import Database
from api.core.errors import Unavailable

log = logging.getLogger(__name__)

_EVERY_SECONDS = 3600.0
_AFTER_FAILURE_SECONDS = 60.0
_SEGMENTS_AT_ONCE = 1_000
# Far longer than any spool or queue keeps a segment.
_REMEMBER_SEGMENTS = timedelta(days=30)


class Housekeeping:
    """Runs chores when they are due; each does a bounded number of things and says how many.

    A chore says 0 when nothing is left to do, and None when it goes on but has nothing to tell.
    """

    def __init__(
        self,
        chores: dict[str, Callable[[], int | None]],
        every_seconds: float = _EVERY_SECONDS,
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
                done = chore()
            except Exception as error:
                # Of a dependency that is away the log knows already.
                if not isinstance(error, Unavailable):
                    log.exception("%s failed", name)
                self._due[name] = now + _AFTER_FAILURE_SECONDS
                continue
            if done:
                log.info("%s: %d", name, done)
            elif done is not None:
                self._due[name] = now + self._every_seconds


class Batches:
    """A chore that takes many batches: each call does the next one."""

    def __init__(self, begin: Callable[[], Iterator[int]]) -> None:
        """`begin` does a batch for each number that is taken of it."""
        self._begin = begin
        self._running: Iterator[int] | None = None

    def __call__(self) -> int | None:
        """Do a batch; as `Housekeeping` wants to be told."""
        running = self._running or self._begin()
        self._running = None  # where this batch fails, the next call begins anew
        done = next(running, None)
        if done is None:
            return 0
        self._running = running
        return done or None


def forget_segments(db: Database) -> int:
    """Delete a bounded number of segment ids that nobody can deliver any more; how many."""
    deleted = 0
    for shard in db.shards():
        with db.write_shard(shard) as session:
            deleted += store.delete_segments(session, _REMEMBER_SEGMENTS, _SEGMENTS_AT_ONCE)
    return deleted
