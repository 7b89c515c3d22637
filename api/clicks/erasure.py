"""Erases the clicks of a link on request: at once for everyone who asks, then row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from api.clicks import deletions
from api.core.database.routing import Database, WriteSession
from api.core.database.sessions import AnyRow
from api.core.errors import NotFound
from api.core.ids import HOME_SLOT, slot_of_id
from api.links.service import LinkService, erase_clicks

_CLICKS_IN_REQUEST = 5_000
_CLICKS_AT_ONCE = 20_000
_ERASURES_AT_ONCE = 1_000
# Clicks that were answered before the erasure, and are written by processes that do not know it.
_WATCH = timedelta(seconds=60)
_MICROSECOND = timedelta(microseconds=1)

# Deletes what is counted of a link: slot, id.
EraseCounts = Callable[[WriteSession, int, int], None]


@dataclass(frozen=True, slots=True)
class Erasure:
    """Clicks up to a moment are gone for everyone who asks; `finished`: from the disk too."""

    erased_until: datetime
    finished: bool


class ClickEraser:
    """Takes requests to erase."""

    def __init__(
        self,
        db: Database,
        links: LinkService,
        erase_counts: EraseCounts,
        forget_answers: Callable[[int], object] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`forget_answers` is told of the workspace whose kept answers are out of date."""
        self._db = db
        self._links = links
        self._erase_counts = erase_counts
        self._forget_answers = forget_answers
        self._now = now

    def erase_link_clicks(self, workspace: int, link_id: int) -> Erasure:
        """Erase the clicks and the counts that a link has until now; also of a deleted link.

        Raises:
            NotFound: the workspace has, and had, no such link.
            Unavailable: clicks are being stored for longer than a request may wait.
        """
        slot = slot_of_id(link_id)
        self._require(workspace, slot, link_id)
        with self._db.write(slot, workspace) as session:
            # Once before: what this waits for, clicks that are being stored need not wait for.
            self._erase_counts(session, slot, link_id)
            deletions.lock_out_ingest(session)
            # Not earlier: all that was stored until here is of before, so no count outlives it.
            until = self._now()
            deletions.upsert_erasure(session, workspace, slot, link_id, until)
            deletions.move_horizons(session, HOME_SLOT, {workspace: until})
            self._erase_counts(session, slot, link_id)
            erase_clicks(session, slot, link_id)
        self._forget_answers(workspace)
        with self._db.write(slot, workspace) as session:
            deleted = _delete(session, slot, link_id, until, _CLICKS_IN_REQUEST)
        return Erasure(until, finished=deleted < _CLICKS_IN_REQUEST)

    def _require(self, workspace: int, slot: int, link_id: int) -> None:
        try:
            self._links.require(workspace, link_id, deleted=True)
        except NotFound:
            # Where slugs of deleted links are used again, only the clicks are left of a link.
            with self._db.read(slot, workspace) as session:
                if deletions.get_clicks_workspace(session, slot, link_id) != workspace:
                    raise


def finish_erasures(db: Database) -> Iterator[int]:
    """Delete what erasures left, batch by batch; yields how many each deleted.

    An erasure is finished once nothing is found and it is old enough that nothing comes any more.
    """
    for shard in db.shards():
        with db.read_shard(shard) as session:
            unfinished = deletions.find_unfinished_erasures(session, _ERASURES_AT_ONCE)
        for erasure in unfinished:
            yield from _finish(db, erasure)


def _finish(db: Database, erasure: AnyRow) -> Iterator[int]:
    deleted = _CLICKS_AT_ONCE
    while deleted:
        with db.write(erasure.slot) as session:
            deleted = _delete(
                session, erasure.slot, erasure.link_id, erasure.erased_until, _CLICKS_AT_ONCE
            )
            if not deleted and datetime.now(UTC) - erasure.requested_at >= _WATCH:
                deletions.update_erasure_finished(session, erasure)
        yield deleted


def _delete(session: WriteSession, slot: int, link_id: int, until: datetime, limit: int) -> int:
    return deletions.delete_clicks(session, slot, link_id, None, until + _MICROSECOND, limit)
