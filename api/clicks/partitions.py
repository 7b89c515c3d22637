"""Makes sure that the months of clicks have their partitions before the clicks are stored."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from api.clicks.months import find_missing_months, insert_month, month_of, next_month
from api.core.database.routing import LATEST, Database

MONTHS_AHEAD = 2


class Partitions:
    """Remembers, by shard, which months exist, so that a batch rarely has to ask."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: list[tuple[int, set[datetime]]] = []

    def ensure(self, slot: int, moments: Iterable[datetime]) -> None:
        """Make the missing months of these moments on the shard of `slot`, and the coming one.

        The moments are in UTC.

        In transactions of their own: a month that is made stays made, and its lock is short.
        """
        known = self._known_of(slot)
        # Ahead of time, so that no click waits at midnight for a table to be made.
        found = {(moment.year, moment.month) for moment in moments}
        needed = {datetime(year, month, 1, tzinfo=UTC) for year, month in found}
        needed.add(next_month(month_of(datetime.now(UTC))))
        if needed <= known:
            return
        with self._db.read(slot, since=LATEST) as session:
            missing = find_missing_months(session, needed - known)
        for month in missing:
            with self._db.write(slot) as session:
                insert_month(session, month)
        known |= needed

    def forget(self) -> None:
        """Ask the database again: a month may have been dropped since."""
        self._known.clear()

    def _known_of(self, slot: int) -> set[datetime]:
        for other, months in self._known:
            if self._db.same_shard(slot, other):
                return months
        self._known.append((slot, set()))
        return self._known[-1][1]


def make_months_ahead(db: Database) -> int:
    """Make this month and the next ones on every shard, before a click needs them; how many.

    Ingest makes what is missing too, but then clicks wait for it.
    """
    month = month_of(datetime.now(UTC))
    months = [month]
    for _ in range(MONTHS_AHEAD):
        months.append(month := next_month(month))
    made = 0
    for shard in db.shards():
        with db.read_shard(shard) as session:
            missing = find_missing_months(session, months)
        for missed in missing:
            with db.write_shard(shard) as session:
                made += insert_month(session, missed)
    return made
