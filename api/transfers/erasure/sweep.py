"""Deletes all that belongs to a workspace, on every shard and in the directory, batch by batch.

One that finds nothing is the proof that nothing is left: it looks everywhere the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from api.clicks import deletions, months
from api.core.database.routing import Database
from api.core.errors import Unavailable
from api.domains.service import EVICTION_PREFIX as DOMAIN_PREFIX
from api.links.service import EVICTION_PREFIX as LINK_PREFIX
from api.transfers.erasure import store

_LINKS_AT_ONCE = 1_000
_CLICKS_AT_ONCE = 5_000
_ROWS_AT_ONCE = 5_000
_WALKED_AT_ONCE = 500
_BEGINNING = (-2, 0, 0)
_SUBJECT_LINK = 1

# These are gone through in ways of their own, and the last stays: see `ErasedWorkspace`.
_SPECIAL = frozenset(("links", "clicks", "click_counts", "erased_workspaces"))
# These go when the erasure ends, which they are needed for.
_LAST = frozenset(("target_rules", "workspace_erasures"))

SHARD_TABLES = tuple(
    name
    for name, table in sorted(store.SHARD.items())
    if "workspace_id" in table.c and name not in _SPECIAL
)
DIRECTORY_TABLES = tuple(
    name
    for name, table in sorted(store.DIRECTORY.items())
    if "workspace_id" in table.c and name not in _LAST
)
# All that a sweep looks at.
SWEPT = (
    *sorted({*SHARD_TABLES, *store.OF_LINKS, "links", "clicks", "click_counts"}),
    *DIRECTORY_TABLES,
)

Evict = Callable[[Sequence[str]], object]


class Swept(NamedTuple):
    """Rows of a table that are gone; none where something was looked at."""

    table: str
    rows: int


class Sweep:
    """Goes once over everything. What is there already, it finds; who comes later, the next."""

    def __init__(self, db: Database, workspace: int, evict: Evict) -> None:
        """`evict` is told the keys of what was deleted."""
        self._db = db
        self._workspace = workspace
        self._evict = evict

    def run(self) -> Iterator[Swept]:
        """Delete, each batch a transaction.

        Raises:
            Unavailable: a database is away, or slots are on their way to another shard.
        """
        for shard in self._db.shards():
            if self._db.slots().is_moving(shard):
                raise Unavailable("Slots are being moved to another database.")
            yield from self._links(shard)
            yield from self._clicks(shard)
            yield from self._counts(shard)
            for name in SHARD_TABLES:
                yield from self._rows(shard, name)
        yield from self._directory()

    def _links(self, shard: str) -> Iterator[Swept]:
        """Links with their rows; from then on their slugs answer 404, and are free."""
        while True:
            gone = []
            with self._db.write_shard(shard) as session:
                links = store.find_links(session, self._workspace, _LINKS_AT_ONCE)
                keys = [(link.slot, link.id) for link in links]
                for name in store.OF_LINKS:
                    rows = store.delete_of_links(session, store.SHARD[name], "link_id", keys)
                    gone.append(Swept(name, rows))
                rows = store.delete_of_links(session, store.SHARD["links"], "id", keys)
                gone.append(Swept("links", rows))
            if not links:
                return
            self._evict([f"{LINK_PREFIX}{link.domain}/{link.slug}" for link in links])
            yield from gone

    def _clicks(self, shard: str) -> Iterator[Swept]:
        """Clicks by month and link, also of links that went before."""
        with self._db.read_shard(shard) as session:
            found = months.find_months(session)
        for month in found:
            if not month.attached:
                continue
            after = (-1, 0)
            while True:
                with self._db.read_shard(shard) as session:
                    links = deletions.find_links(
                        session, month.first, month.end, after, _WALKED_AT_ONCE
                    )
                if not links:
                    break
                after = (links[-1].slot, links[-1].link_id)
                yield Swept("clicks", 0)
                for link in links:
                    if link.workspace_id == self._workspace:
                        yield from self._clicks_of(shard, link.slot, link.link_id)

    def _clicks_of(self, shard: str, slot: int, link: int) -> Iterator[Swept]:
        # The clocks of those who recorded them may go before ours.
        before = datetime.now(UTC) + timedelta(days=400)
        deleted = _CLICKS_AT_ONCE
        while deleted >= _CLICKS_AT_ONCE:
            with self._db.write_shard(shard) as session:
                deleted = deletions.delete_clicks(
                    session, slot, link, None, before, _CLICKS_AT_ONCE
                )
                totals = store.delete_of_links(
                    session, store.SHARD["link_totals"], "link_id", [(slot, link)]
                )
            yield Swept("clicks", deleted)
            yield Swept("link_totals", totals)

    def _counts(self, shard: str) -> Iterator[Swept]:
        """Counts of links, of the workspace itself, its domains and its tags."""
        after = _BEGINNING
        while True:
            with self._db.read_shard(shard) as session:
                found = store.find_counted(session, after, _WALKED_AT_ONCE)
            if not found:
                return
            last = found[-1]
            after = (last.slot, last.subject, last.subject_id)
            yield Swept("click_counts", 0)
            for counted in found:
                if counted.workspace_id == self._workspace:
                    yield from self._counts_of(shard, counted)

    def _counts_of(self, shard: str, counted: store.Counted) -> Iterator[Swept]:
        deleted = _ROWS_AT_ONCE
        while deleted >= _ROWS_AT_ONCE:
            with self._db.write_shard(shard) as session:
                deleted = store.delete_counts(session, counted, _ROWS_AT_ONCE)
            yield Swept("click_counts", deleted)
        if counted.subject == _SUBJECT_LINK:
            with self._db.write_shard(shard) as session:
                key = (counted.slot, counted.subject_id)
                totals = store.delete_of_links(
                    session, store.SHARD["link_totals"], "link_id", [key]
                )
            yield Swept("link_totals", totals)

    def _rows(self, shard: str, name: str) -> Iterator[Swept]:
        deleted = _ROWS_AT_ONCE
        while deleted >= _ROWS_AT_ONCE:
            with self._db.write_shard(shard) as session:
                deleted = store.delete_of_workspace(
                    session, store.SHARD[name], self._workspace, _ROWS_AT_ONCE
                )
            yield Swept(name, deleted)

    def _directory(self) -> Iterator[Swept]:
        with self._db.write_directory() as session:
            domains = store.DIRECTORY["domains"]
            hosts = store.delete_names(session, domains, self._workspace, "host")
        if hosts:
            self._evict([f"{DOMAIN_PREFIX}{host}" for host in hosts])
        yield Swept("domains", len(hosts))
        for name in DIRECTORY_TABLES:
            deleted = _ROWS_AT_ONCE
            while deleted >= _ROWS_AT_ONCE:
                with self._db.write_directory() as session:
                    deleted = store.delete_of_workspace(
                        session, store.DIRECTORY[name], self._workspace, _ROWS_AT_ONCE
                    )
                yield Swept(name, deleted)
