"""Which database a session speaks to. The caller says read or write, and for which slot."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from api.core.database.failures import Moved
from api.core.database.positions import Positions
from api.core.database.prepared import ReadOnce, WriteOnce
from api.core.database.replicas import LATEST, ReplicaSet
from api.core.database.servers import Server
from api.core.database.sessions import ReadSession, SlotRange, WriteSession
from api.core.database.slot_map import MAIN, SlotMap, Slots, ranges_of
from api.core.errors import Unavailable
from api.core.ids import SLOTS
from config.kinds import database_url
from config.settings import Settings

__all__ = ["LATEST", "Database", "ReadSession", "WriteSession"]

log = logging.getLogger(__name__)

DIRECTORY = "directory"
# How long a writer waits for a slot that moves to another shard at this moment.
_CLOSED_SECONDS = 10.0
_CLOSED_POLL_SECONDS = 0.1


class Database:
    """The directory and the shards; `main`, the first shard, is in the directory's database.

    Each context manager is one transaction: committed at its end, rolled back on an exception.
    A server that is away, and a pool that stays exhausted, are raised as `Unavailable`.

    `workspace` names whose own writes must be seen by a reader, None where nobody's must; to a
    writer it says whose write it is. `since` is a moment (monotonic seconds): what was committed
    before it must be seen, all of it with `LATEST`.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.database_url is None:
            raise ValueError("a database needs a URL")
        self._settings = settings
        self._lock = threading.Lock()
        self._sets: dict[tuple[str, str], ReplicaSet] = {}
        if settings.redis_url is None and (
            settings.database_replica_urls or settings.shard_replica_urls
        ):
            log.warning("replicas are read only with REDIS_URL: else nobody knows who wrote what")
        self._positions = Positions(settings.redis_url, settings.redis_timeout_seconds)
        self._directory = self._set_of(MAIN, settings.database_url)
        # Who acted on the map of a replica could write where nobody reads any more.
        self._map = SlotMap(
            lambda: self._directory.read_once(since=LATEST), self._directory.read_replica_once
        )

    def write(
        self, slot: int, workspace: int | None = None
    ) -> AbstractContextManager[WriteSession]:
        """Write to the shard that owns `slot`; waits while it is moved.

        Raises:
            Unavailable: the move takes long.
        """
        return self._heeding(self._shard(self._open_shard_of(slot)).write(_subject(workspace)))

    def read(
        self, slot: int, workspace: int | None = None, since: float | None = None
    ) -> AbstractContextManager[ReadSession]:
        """Read from the shard that owns `slot`.

        Raises:
            Unavailable: that would be from the primary, which is known to be away.
        """
        return self._shard(self._shard_of(slot)).read(_subject(workspace), since=since)

    def read_replica(self, slot: int) -> AbstractContextManager[ReadSession]:
        """Read from a replica, however fresh, where nothing better answers.

        Raises:
            Unavailable: there is none.
        """
        return self._shard(self._shard_of(slot)).read_replica()

    def read_each(
        self, workspace: int | None = None
    ) -> Iterator[AbstractContextManager[ReadSession]]:
        """One reading context per shard, for questions that no slot answers alone."""
        slots = self._map.current()
        for name in slots.shards:
            yield self.read_shard(name, workspace, slots=slots)

    def write_once(self, slot: int, workspace: int | None = None) -> WriteOnce:
        """Commands to the shard that owns `slot`, each a transaction of its own."""
        return self._shard(self._open_shard_of(slot)).write_once(_subject(workspace))

    def read_once(self, slot: int, workspace: int | None = None) -> ReadOnce:
        """Questions to the shard that owns `slot`, each a transaction of its own."""
        return self._shard(self._shard_of(slot)).read_once(_subject(workspace))

    def shards(self) -> Sequence[str]:
        """The names of all shards, for work that is done shard by shard."""
        return self._map.current().shards

    def slots(self) -> Slots:
        """Which shard owns which slots."""
        return self._map.current()

    def read_shard(
        self,
        name: str,
        workspace: int | None = None,
        since: float | None = None,
        slots: Slots | None = None,
    ) -> AbstractContextManager[ReadSession]:
        """Read a whole shard; of what is there, only `owned` rows are to be looked at.

        For no workspace the latest is read: work on a shard acts on what it finds. Who puts
        together what several shards answer gives the same `slots` for all: otherwise a row that
        moves meanwhile could be with both, or with none.
        """
        return self._shard(name).read(*self._whole(name, workspace, since, slots))

    def read_shard_once(
        self, name: str, workspace: int | None = None, slots: Slots | None = None
    ) -> ReadOnce:
        """The same for questions, each a transaction of its own."""
        return self._shard(name).read_once(*self._whole(name, workspace, None, slots))

    def write_shard(self, name: str) -> AbstractContextManager[WriteSession]:
        """Write to a shard what is of all its slots, or was read from it; but not the slots that
        are closed."""
        slots = self._map.current()
        closed = ranges_of(slot for slot in slots.closed if slots.owners[slot] == name)
        return self._shard(name).write(None, [*slots.copies.get(name, ()), *closed])

    @contextmanager
    def write_shard_outside(self, name: str) -> Iterator[WriteSession]:
        """The same, each statement a transaction of its own, for the few that PostgreSQL refuses
        within one. Not where `transactions_only`: what one sets there, the next does not find."""
        with self.write_shard(name) as session:
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            yield session

    @property
    def transactions_only(self) -> bool:
        """Whether connections are shared between transactions, as by PgBouncer."""
        return self._settings.db_pgbouncer

    def read_directory_once(self) -> ReadOnce:
        """Questions to the directory, each a transaction of its own."""
        return self._directory.read_once(DIRECTORY)

    def write_directory_once(self, *, noted: bool = True) -> WriteOnce:
        """Commands to the directory, each a transaction of its own."""
        return self._directory.write_once(DIRECTORY if noted else None)

    def write_directory(self, *, noted: bool = True) -> AbstractContextManager[WriteSession]:
        """Write to the directory; what is not `noted` others may see a moment later."""
        return self._directory.write(DIRECTORY if noted else None)

    def read_directory(self, since: float | None = None) -> AbstractContextManager[ReadSession]:
        """Read from the directory."""
        return self._directory.read(DIRECTORY, since=since)

    def same_shard(self, one: int, other: int) -> bool:
        """Whether two slots can be written in one transaction."""
        slots = self._map.current()
        return slots.owners[one] == slots.owners[other] and (one in slots.closed) is (
            other in slots.closed
        )

    def replica_sets(self) -> list[ReplicaSet]:
        """All primaries that this process has used, each with its replicas; the directory's
        first."""
        with self._lock:
            return list(self._sets.values())

    def all_servers(self) -> list[Server]:
        """Those of the directory and of every shard, whether they were used yet or not.

        Raises:
            Unavailable: it cannot be known which shards there are.
        """
        for name in self.shards():
            self._shard(name)
        return self.servers()

    def servers(self) -> list[Server]:
        """All servers that this process knows, the directory's first."""
        return [server for group in self.replica_sets() for server in group.servers()]

    def dispose(self, *, close: bool = True) -> None:
        """Drop the pooled connections; `close=False` after a fork, where the parent owns them."""
        for group in self.replica_sets():
            group.dispose(close=close)

    def _shard_of(self, slot: int) -> str:
        return self._map.current().owners[_checked(slot)]

    def _open_shard_of(self, slot: int) -> str:
        """The shard of a slot that may be written."""
        until = time.monotonic() + _CLOSED_SECONDS
        while slot in (slots := self._map.current()).closed:
            if time.monotonic() > until:
                raise Unavailable("The link is being moved to another database.")
            time.sleep(_CLOSED_POLL_SECONDS)
        return slots.owners[_checked(slot)]

    def _whole(
        self, name: str, workspace: int | None, since: float | None, slots: Slots | None
    ) -> tuple[str | None, Sequence[SlotRange], float | None]:
        """What a reader of a whole shard must see, and what it must not look at."""
        if workspace is None and since is None:
            since = LATEST
        slots = slots or self._map.current()
        return _subject(workspace), slots.copies.get(name, ()), since

    @contextmanager
    def _heeding(self, transaction: AbstractContextManager[WriteSession]) -> Iterator[WriteSession]:
        """A transaction whose refusal says that the map has changed."""
        try:
            with transaction as session:
                yield session
        except Moved:
            self._map.doubt()
            raise

    def _shard(self, name: str) -> ReplicaSet:
        slots = self._map.current()
        group = self._directory if name == MAIN else self._other(name)
        # What came with the map from another shard a replica must have, too.
        group.filled_at = slots.read_at
        return group

    def _other(self, name: str) -> ReplicaSet:
        url = dict(self._settings.shard_urls).get(name)
        if url is None and (kept := self._map.current().urls.get(name)):
            url = database_url(kept)
        if url is None:
            log.error("shard %s has no address: name it in SHARD_URLS", name)
            raise Unavailable("A database of this installation is not known here.")
        return self._set_of(name, url)

    def _set_of(self, name: str, url: str) -> ReplicaSet:
        """The servers of a shard, made when they are first wanted."""
        with self._lock:
            known = self._sets.get((name, url))
            if known is None:
                replicas = [
                    replica for shard, replica in self._settings.shard_replica_urls if shard == name
                ]
                if name == MAIN:
                    replicas += self._settings.database_replica_urls
                known = self._sets[name, url] = ReplicaSet(
                    name,
                    Server(name, url, self._settings),
                    [
                        Server(f"{name}-replica-{number}", replica, self._settings, read_only=True)
                        for number, replica in enumerate(replicas, 1)
                    ],
                    positions=self._positions,
                    max_lag_seconds=self._settings.db_max_replica_lag_seconds,
                )
            return known


def _checked(slot: int) -> int:
    if not 0 <= slot < SLOTS:
        raise ValueError(f"no such slot: {slot}")
    return slot


def _subject(workspace: int | None) -> str | None:
    return None if workspace is None else str(workspace)
