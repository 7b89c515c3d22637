"""Counts and checksums of all tables of some databases, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from sqlalchemy import Connection

from api.core.database.backups.manifest import TableFacts
from api.core.database.backups.tables import Table, digest
from api.core.database.moving.peers import Peer


@dataclass
class Counts:
    """What is being counted; it goes on in threads of its own."""

    size_bytes: int = 0
    _futures: dict[tuple[str, str], Future[TableFacts]] = field(default_factory=dict)
    _used: set[Any] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def done_bytes(self) -> int:
        """The size of the tables that are counted.

        Raises:
            Exception: one could not be.
        """
        done = [future.result() for future in self._futures.values() if future.done()]
        return sum(facts.size_bytes for facts in done)

    @property
    def ended(self) -> bool:
        """Whether all are counted."""
        return all(future.done() for future in self._futures.values())

    def of(self, database: str) -> dict[str, TableFacts]:
        """The tables of a database."""
        return {
            table: future.result()
            for (name, table), future in self._futures.items()
            if name == database
        }

    def count(
        self, peer: Peer, table: Table, prepare: Callable[[Connection], object]
    ) -> TableFacts:
        """One table, in a transaction that `prepare` begins."""
        with peer.connect() as connection:
            used = connection.connection.dbapi_connection
            with self._lock:
                self._used.add(used)
            try:
                prepare(connection)
                rows, checksum = digest(connection, table)
            finally:
                with self._lock:
                    self._used.discard(used)
        return TableFacts(rows, checksum, table.size_bytes)

    def cancel(self) -> None:
        """Have PostgreSQL end what it counts."""
        for future in self._futures.values():
            future.cancel()
        with self._lock:
            for used in self._used:
                with suppress(Exception):
                    used.cancel()

    def add(self, place: tuple[str, str], future: Future[TableFacts], size_bytes: int) -> None:
        """Something more to wait for."""
        self._futures[place] = future
        self.size_bytes += size_bytes


@contextmanager
def counting(
    databases: Sequence[tuple[Peer, Sequence[Table], Callable[[Connection], object]]], jobs: int
) -> Iterator[Counts]:
    """Count the tables of databases, each with what its transactions begin with."""
    counts = Counts()
    with ThreadPoolExecutor(jobs) as threads:
        try:
            for peer, tables, prepare in databases:
                # The largest first, so that none of them is what all wait for at the end.
                for table in sorted(tables, key=lambda it: it.size_bytes, reverse=True):
                    if table.has_rows:
                        future = threads.submit(counts.count, peer, table, prepare)
                        counts.add((peer.name, table.name), future, table.size_bytes)
            yield counts
        except BaseException:
            counts.cancel()
            raise
