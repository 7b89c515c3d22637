"""Which database a session speaks to. The caller says read or write, and for which slot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Engine

from api.core.database.engines import make_connections, make_engine
from api.core.database.prepared import ReadOnce, WriteOnce
from api.core.database.sessions import ReadSession, WriteSession, transaction
from config.settings import Settings

__all__ = ["Database", "ReadSession", "WriteSession"]


class Database:
    """The directory and the shards; with one database they share a server and a pool.

    Each context manager is one transaction: committed at its end, rolled back on an exception.
    A server that is away, and a pool that stays exhausted, are raised as `Unavailable`.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.database_url is None:
            raise ValueError("a database needs a URL")
        self._primary = make_engine(settings.database_url, settings)
        self._once = make_connections(self._primary, settings)

    def write(self, slot: int) -> AbstractContextManager[WriteSession]:
        """Write to the shard that owns `slot`."""
        return transaction(WriteSession, self._shard_of(slot))

    def read(
        self,
        slot: int,
        workspace: int | None = None,  # noqa: ARG002 - see the docstring
    ) -> AbstractContextManager[ReadSession]:
        """Read from the shard that owns `slot`.

        `workspace` names whose own writes must be seen, None where nobody's must: it is what
        decides between a replica and the primary once there are replicas.
        """
        return transaction(ReadSession, _read_only(self._shard_of(slot)))

    def read_each(self) -> Iterator[AbstractContextManager[ReadSession]]:
        """One reading context per shard, for questions that no slot answers alone."""
        yield transaction(ReadSession, _read_only(self._primary))

    def write_once(self, slot: int) -> WriteOnce:
        """Commands to the shard that owns `slot`, each a transaction of its own."""
        return WriteOnce(self._once, self._shard_of(slot))

    def read_once(
        self,
        slot: int,
        workspace: int | None = None,  # noqa: ARG002 - as in `read`
    ) -> ReadOnce:
        """Questions to the shard that owns `slot`, each a transaction of its own."""
        return ReadOnce(self._once, self._shard_of(slot))

    def read_each_once(self) -> Iterator[ReadOnce]:
        """The same for each shard, for questions that no slot answers alone."""
        yield ReadOnce(self._once, self._primary)

    def read_directory_once(self) -> ReadOnce:
        """Questions to the directory, each a transaction of its own."""
        return ReadOnce(self._once, self._primary)

    def write_directory_once(self) -> WriteOnce:
        """Commands to the directory, each a transaction of its own."""
        return WriteOnce(self._once, self._primary)

    def shard_slots(self) -> Sequence[int]:
        """One slot of each shard: `write` and `read` of each of them reach all shards."""
        return (0,)

    @contextmanager
    def write_outside(self, slot: int) -> Iterator[WriteSession]:
        """The shard that owns `slot`, each statement a transaction of its own, for the few that
        PostgreSQL refuses within one."""
        with self.write(slot) as session:
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            yield session

    def write_directory(self) -> AbstractContextManager[WriteSession]:
        """Write to the directory."""
        return transaction(WriteSession, self._primary)

    def read_directory(self) -> AbstractContextManager[ReadSession]:
        """Read from the directory."""
        return transaction(ReadSession, _read_only(self._primary))

    def same_shard(self, one: int, other: int) -> bool:
        """Whether two slots can be written in one transaction."""
        return self._shard_of(one) is self._shard_of(other)

    def dispose(self, *, close: bool = True) -> None:
        """Drop the pooled connections; `close=False` after a fork, where the parent owns them."""
        self._primary.dispose(close=close)
        self._once.drop_idle(close=close)

    def _shard_of(self, slot: int) -> Engine:
        if not 0 <= slot < 1024:
            raise ValueError(f"no such slot: {slot}")
        return self._primary


def _read_only(engine: Engine) -> Engine:
    # Same pool; the transaction starts with BEGIN READ ONLY, at no extra round trip.
    return engine.execution_options(postgresql_readonly=True)
