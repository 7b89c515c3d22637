"""Deletes raw clicks that are past the retention of their workspace."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import ProgrammingError

from api.clicks import deletions, months
from api.clicks.deletions import LinkClicks
from api.clicks.months import Month
from api.core.database.routing import Database
from api.core.errors import Unavailable
from api.core.ids import HOME_SLOT, SLOTS
from api.identity.service import IdentityService

log = logging.getLogger(__name__)

_LINKS_AT_ONCE = 500
_CLICKS_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """Up to which moment the raw clicks of each workspace are past their retention."""

    own: Mapping[int, datetime]
    # Of every workspace that has none of its own; None: they keep theirs for ever.
    default: datetime | None
    # Of what lies before, no workspace keeps anything; None: some workspace keeps all.
    everyone: datetime | None

    def of(self, workspace: int) -> datetime | None:
        """The moment of one workspace."""
        return self.own.get(workspace, self.default)

    @property
    def latest(self) -> datetime | None:
        """The moment after which nothing is to be deleted; None: nothing at all is."""
        moments = [*self.own.values(), *([self.default] if self.default else ())]
        return max(moments, default=None)


@dataclass
class Purged:
    """What a purge deleted, or would delete, and how far it is."""

    dropped: list[Month] = field(default_factory=list)
    # Months that could not be dropped, as somebody reads them; they are hidden already.
    busy: list[Month] = field(default_factory=list)
    # Clicks by workspace and month.
    deleted: Counter[tuple[int, datetime]] = field(default_factory=Counter)
    steps: int = 0
    steps_done: int = 0


class Retention:
    """Knows how long workspaces keep raw clicks, and deletes what is older.

    Days are those of UTC: with a retention of 30 days, on the 31st of a month what was clicked
    before the 1st is past it.
    """

    def __init__(
        self,
        db: Database,
        identity: IdentityService,
        default_days: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`default_days` is for workspaces without a retention of their own; 0: for ever."""
        self._db = db
        self._identity = identity
        self._default_days = default_days
        self._now = now

    def cutoffs(self, workspace: int | None = None) -> Cutoffs:
        """What is to be deleted now: of all workspaces, or of one.

        Raises:
            NotFound: there is no such workspace.
        """
        default = self._cutoff(None)
        if workspace is not None:
            days = self._identity.get_workspace(workspace).click_retention_days
            cutoff = self._cutoff(days)
            return Cutoffs({workspace: cutoff} if cutoff else {}, None, None)
        own = {}
        others = False
        for page in self._identity.stream_click_retentions():
            for identifier, days in page:
                if days is not None and (cutoff := self._cutoff(days)):
                    own[identifier] = cutoff
                else:
                    others = True
        # Clicks of no workspace that is known fall under the default as well.
        bounds = [*own.values(), *([default] if default else ())]
        everyone = None if others and default is None else min(bounds, default=None)
        return Cutoffs(own, default, everyone)

    def purge(
        self, cutoffs: Cutoffs, purged: Purged, *, batch: int, dry_run: bool = False
    ) -> Iterator[int]:
        """Delete what is past retention; yields after each batch how many clicks it deleted.

        Each batch is committed: whoever stops in between, or is killed, has done a part, and the
        next purge does the rest. `purged` tells what was done so far.
        """
        latest = cutoffs.latest
        if latest is None:
            return
        if not dry_run:
            yield from self._move_horizons(cutoffs)
        work: list[tuple[str, Month]] = []
        for shard in self._db.shards():
            if self._db.slots().is_moving(shard):
                log.info("shard %s is not purged while slots move to it or from it", shard)
                continue
            with self._db.read_shard(shard) as session:
                found = months.find_months(session)
            work += [(shard, month) for month in found if month.first < latest]
        purged.steps = len(work) * SLOTS
        for number, (shard, month) in enumerate(work, 1):
            if cutoffs.everyone is not None and month.end <= cutoffs.everyone:
                self._drop(shard, month, purged, dry_run)
                yield 0
            elif month.attached:
                yield from self._purge_month(shard, month, cutoffs, purged, batch, dry_run)
            purged.steps_done = number * SLOTS

    def purge_all(self) -> Iterator[int]:
        """Purge every workspace, in batches that nobody notices."""
        yield from self.purge(self.cutoffs(), Purged(), batch=_CLICKS_AT_ONCE)

    def _cutoff(self, days: int | None) -> datetime | None:
        days = self._default_days if days is None else days
        if not days:
            return None
        now = self._now().astimezone(UTC)
        return now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)

    def _move_horizons(self, cutoffs: Cutoffs) -> Iterator[int]:
        """Before anything is deleted: what is counted of that time cannot be counted again."""
        for page in self._horizons(cutoffs):
            for shard in self._db.shards():
                with self._db.write_shard(shard) as session:
                    deletions.move_horizons(session, HOME_SLOT, page)
                yield 0

    def _horizons(self, cutoffs: Cutoffs) -> Iterator[Mapping[int, datetime]]:
        if cutoffs.default is None:
            yield cutoffs.own
            return
        for page in self._identity.stream_click_retentions():
            yield {
                workspace: cutoff
                for workspace, _ in page
                if (cutoff := cutoffs.of(workspace)) is not None
            }

    def _drop(self, shard: str, month: Month, purged: Purged, dry_run: bool) -> None:
        if dry_run:
            purged.dropped.append(month)
            return
        if month.attached:
            # Somebody reads it, or another purge is at it: what is left to do shows below.
            with suppress(Unavailable, ProgrammingError):
                self._detach(shard, month)
        with self._db.write_shard(shard) as session:
            dropped = months.drop_month(session, month.first)
        (purged.dropped if dropped else purged.busy).append(month)

    def _detach(self, shard: str, month: Month) -> None:
        if self._db.transactions_only:
            with self._db.write_shard(shard) as session:
                months.detach_month_at_once(session, month.first)
        else:
            with self._db.write_shard_outside(shard) as session:
                months.detach_month(session, month.first)

    def _purge_month(
        self, shard: str, month: Month, cutoffs: Cutoffs, purged: Purged, batch: int, dry_run: bool
    ) -> Iterator[int]:
        """Go through the links that have clicks in a month."""
        before_month = purged.steps_done
        after = (-1, 0)
        while True:
            with self._db.read_shard(shard) as session:
                links = deletions.find_links(session, month.first, month.end, after, _LINKS_AT_ONCE)
            if not links:
                return
            due = []
            for link in links:
                cutoff = cutoffs.of(link.workspace_id)
                if cutoff is not None and link.oldest < cutoff:
                    due.append((link, min(cutoff, month.end)))
            if dry_run:
                yield self._count(shard, month, due, purged)
            else:
                yield from self._delete(shard, month, due, purged, batch)
            after = (links[-1].slot, links[-1].link_id)
            purged.steps_done = before_month + after[0]
            if not due:
                yield 0

    def _count(
        self,
        shard: str,
        month: Month,
        due: Sequence[tuple[LinkClicks, datetime]],
        purged: Purged,
    ) -> int:
        total = 0
        with self._db.read_shard(shard) as session:
            for link, before in due:
                clicks = deletions.count_clicks(
                    session, link.slot, link.link_id, month.first, before
                )
                purged.deleted[link.workspace_id, month.first] += clicks
                total += clicks
        return total

    def _delete(
        self,
        shard: str,
        month: Month,
        due: Sequence[tuple[LinkClicks, datetime]],
        purged: Purged,
        batch: int,
    ) -> Iterator[int]:
        """Delete the clicks of some links, about `batch` in a transaction."""
        left = deque(due)
        while left:
            deleted: Counter[tuple[int, datetime]] = Counter()
            with self._db.write_shard(shard) as session:
                while left and (room := batch - deleted.total()) > 0:
                    link, before = left[0]
                    clicks = deletions.delete_clicks(
                        session, link.slot, link.link_id, month.first, before, room
                    )
                    deleted[link.workspace_id, month.first] += clicks
                    if clicks < room:
                        left.popleft()
            purged.deleted += deleted
            yield deleted.total()
