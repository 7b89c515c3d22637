"""Reading a replica, and going on with the primary when the replica fails on the way.

Each statement of a READ COMMITTED transaction sees what is committed when it begins, so that one
which a replica did not answer can be asked of the primary instead: it sees the same, or later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import psycopg2
from sqlalchemy import Connection, CursorResult, ScalarResult, exc
from sqlalchemy.sql.expression import Executable

from api.core.database.failures import SERVER_GONE
from api.core.database.prepared import Command, ReadOnce
from api.core.database.servers import Server
from api.core.database.sessions import Parameters, ReadSession, SlotRange
from api.core.errors import Unavailable

Answer = TypeVar("Answer")

# A row version that is gone from the replica, as the primary has dropped it (hot standby,
# "handling query conflicts").
_CONFLICT = "40001"


class Readable(Protocol):
    """A replica, as who reads it sees it."""

    server: Server

    def began(self) -> None: ...
    def ended(self) -> None: ...
    def failed(self, error: object) -> None: ...


class ReplicaSession(ReadSession):
    """A session on a replica, and on the primary from where that fails."""

    def __init__(
        self,
        replica: Readable,
        primary: Server,
        foreign: Sequence[SlotRange],
        on_fallback: Callable[[], None],
    ) -> None:
        super().__init__(replica.server.reading, foreign)
        self._replica: Readable | None = replica
        self._primary = primary
        self._on_fallback = on_fallback
        self._counted = False
        # Of the transaction, and whether it has answered anything.
        self._options: Mapping[str, Any] | None = None
        self._answered = False

    @property
    def is_replica(self) -> bool:
        return self._replica is not None

    def connection(self, execution_options: Mapping[str, Any] | None = None) -> Connection:
        self._options = execution_options or self._options
        self._count(self._replica)
        return self._or_primary(lambda: super(ReplicaSession, self).connection(execution_options))

    def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        return self._ask(lambda: super(ReplicaSession, self).execute(statement, parameters))

    def scalar(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Any:
        return self._ask(lambda: super(ReplicaSession, self).scalar(statement, parameters))

    def scalars(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> ScalarResult[Any]:
        return self._ask(lambda: super(ReplicaSession, self).scalars(statement, parameters))

    def end(self, *, commit: bool) -> None:
        try:
            super().end(commit=commit)
        except exc.DBAPIError as error:
            # Nothing was to be written, and everything is read.
            if self._replica is None or not _is_away(error.orig):
                raise
            self._replica.failed(error.orig)
        finally:
            if self._counted and self._replica is not None:
                self._replica.ended()

    def _ask(self, ask: Callable[[], Answer]) -> Answer:
        answer = self._or_primary(ask)
        self._answered = True
        return answer

    def _or_primary(self, ask: Callable[[], Answer]) -> Answer:
        try:
            return ask()
        except exc.DBAPIError as error:
            replica = self._replica
            if replica is None or not _is_away(error.orig, error.connection_invalidated):
                raise
            _note_failure(replica, error.orig)
            if self._options and self._answered:
                raise  # two answers of one snapshot cannot come from two servers
            self._leave(replica)
            return ask()

    def _leave(self, replica: Readable) -> None:
        """Let go of the replica for the primary."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()
        if self._counted:
            replica.ended()
        self._replica = None
        self._engine = self._primary.reading
        self._on_fallback()
        if self._options and connection is not None:
            super().connection(self._options)

    def _count(self, replica: Readable | None) -> None:
        if not self._counted and replica is not None:
            self._counted = True
            replica.began()


class ReplicaOnce(ReadOnce):
    """A connection to a replica for questions, and to the primary from where that fails."""

    __slots__ = ("_lost", "_on_fallback", "_primary", "_replica")

    def __init__(
        self,
        replica: Readable,
        primary: Server,
        foreign: Sequence[SlotRange],
        on_fallback: Callable[[], None],
    ) -> None:
        super().__init__(replica.server.connections, replica.server.engine, foreign)
        self._replica: Readable | None = replica
        self._primary = primary
        self._on_fallback = on_fallback
        # Whether there is no connection, neither the one nor the other.
        self._lost = False

    def __enter__(self) -> Self:
        replica = self._replica
        assert replica is not None  # noqa: S101 - it is entered once
        try:
            super().__enter__()
        except Unavailable as error:
            if not isinstance(error.__cause__, psycopg2.Error):
                raise  # it is there, and all its connections are in use
            self._leave(replica, error.__cause__)
        else:
            replica.began()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._replica is not None:
            self._replica.ended()
        if not self._lost:
            super().__exit__(kind, error, trace)

    def _run(self, command: Command, values: dict[str, Any]) -> list[Any]:
        try:
            return super()._run(command, values)
        except psycopg2.Error as error:
            replica = self._replica
            if replica is None or not _is_away(error, self._driver.closed):
                raise
            replica.ended()
            self._connections.give(self._held, usable=False)
            self._lost = True
            self._leave(replica, error)
            return super()._run(command, values)

    def _leave(self, replica: Readable, error: BaseException) -> None:
        """Let go of the replica for the primary."""
        self._replica = None
        _note_failure(replica, error)
        self._on_fallback()
        self._connections = self._primary.connections
        super().__enter__()
        self._lost = False


def _note_failure(replica: Readable, error: Any) -> None:
    if getattr(error, "pgcode", None) != _CONFLICT:
        replica.failed(error)


def _is_away(error: Any, lost: object = False) -> bool:
    """Whether it was the server that failed, and not the statement."""
    code = getattr(error, "pgcode", None)
    if code is not None:
        return str(code).startswith(SERVER_GONE) or code == _CONFLICT
    return bool(lost) or isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
