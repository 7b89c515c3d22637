"""One database as this process uses it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from sqlalchemy import event

from api.core.database.engines import connect_parameters, make_connections, make_engine
from api.core.database.hosts import Hosts
from api.core.database.pools import MeasuredPool, PoolState
from api.core.database.prepared import ReadOnce, WriteOnce
from api.core.database.sessions import ReadSession, SlotRange, WriteSession, transaction
from api.core.database.slot_map import MAIN
from api.core.dependencies import dependencies
from config.settings import Settings


class Server:
    """A pool for transactions, and one for statements that are transactions of their own.

    Nothing is connected before it is used. `foreign` are slots of which the database holds copies
    that are not to be read; see `SlotMap`.
    """

    def __init__(self, name: str, url: str, settings: Settings, *, read_only: bool = False) -> None:
        """What is `read_only` is a replica."""
        self.name = name
        # What libpq is told to connect.
        self.parameters = connect_parameters(url, settings, read_only=read_only)
        self._hosts = Hosts(self.parameters)
        # How this process finds it.
        self.found = dependencies.of(_known_as(name, read_only), url)
        self.engine = make_engine(url, settings, self._hosts, self.found)
        self.connections = make_connections(settings, self._hosts, self.found)
        # What makes one pool useless makes the other so.
        event.listen(self.engine, "engine_disposed", lambda _: self.connections.drop_idle())
        # Same pool; the transaction starts with BEGIN READ ONLY, at no extra round trip.
        self.reading = self.engine.execution_options(postgresql_readonly=True)

    def read(self, foreign: Sequence[SlotRange] = ()) -> AbstractContextManager[ReadSession]:
        """A transaction that PostgreSQL itself holds to reading."""
        return transaction(ReadSession(self.reading, foreign))

    def write(self, foreign: Sequence[SlotRange] = ()) -> AbstractContextManager[WriteSession]:
        """A transaction that may write."""
        return transaction(WriteSession(self.engine, foreign))

    def read_once(self, foreign: Sequence[SlotRange] = ()) -> ReadOnce:
        """Questions, each a transaction of its own."""
        return ReadOnce(self.connections, self.engine, foreign)

    def write_once(self) -> WriteOnce:
        """Commands, each a transaction of its own."""
        return WriteOnce(self.connections, self.engine)

    def pools(self) -> dict[str, PoolState]:
        """How each of the two is used now, by what it is for."""
        # Looked up now: another one takes its place when it is dropped.
        transactions = self.engine.pool
        assert isinstance(transactions, MeasuredPool)  # noqa: S101 - so it was made
        return {"transactions": transactions.state(), "statements": self.connections.state()}

    def dispose(self, *, close: bool = True) -> None:
        """Drop the pooled connections; `close=False` after a fork, where the parent owns them."""
        self.connections.drop_idle(close=close)
        self.engine.dispose(close=close)

    def cut(self) -> None:
        """End all connections: the server hangs, and who waits for it waits no more."""
        self.dispose()
        self._hosts.cut()


def _known_as(name: str, read_only: bool) -> str:
    """What operators are told of it by: a primary by its shard, the only one of most by no more."""
    if read_only:
        return name
    return "database" if name == MAIN else f"database {name}"
