"""Writing as somebody who reads it afterwards: what was written is noted by its position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, exc

from api.core.database.positions import Positions, position_of
from api.core.database.prepared import Command, WriteOnce
from api.core.database.servers import Server
from api.core.database.sessions import SlotRange, WriteSession
from api.core.database.timeouts import TRANSACTION_LIMITS

_POSITION = "SELECT pg_current_wal_insert_lsn()"
# Both in one message, and so in one round trip: behind COMMIT begins a transaction of its own.
_COMMIT = f"COMMIT; {_POSITION}"


class NotingSession(WriteSession):
    """A session that notes, when it is committed, how far its subject has written.

    psycopg2 sends a COMMIT of its own that nothing can be added to. So here the driver is left in
    autocommit, and the transaction is begun and ended by statements.
    """

    def __init__(
        self, engine: Engine, foreign: Sequence[SlotRange], positions: Positions, subject: str
    ) -> None:
        super().__init__(engine, foreign)
        self._positions = positions
        self._subject = subject
        self._driver: Any = None

    def connection(self, execution_options: Mapping[str, Any] | None = None) -> Connection:
        if self._connection is None:
            if execution_options:
                raise ValueError("a write of somebody has no options")
            connection = self._engine.connect()
            self._connection = connection
            # Of the driver itself: SQLAlchemy's option sets the session back by a statement.
            self._driver = connection.connection.dbapi_connection
            self._driver.autocommit = True
            limits = connection.get_execution_options().get(TRANSACTION_LIMITS, "")
            connection.exec_driver_sql(f"BEGIN; {limits}")
        return super().connection(execution_options)

    def end(self, *, commit: bool) -> None:
        connection = self._connection
        if connection is None:
            return
        position = None
        try:
            if commit:
                position = connection.exec_driver_sql(_COMMIT).scalar_one()
            elif not connection.invalidated:
                connection.exec_driver_sql("ROLLBACK")
            self._driver.autocommit = False
        except BaseException as error:
            # Whatever it is in, nobody else may get into it.
            connection.invalidate()
            if commit or not isinstance(error, exc.DBAPIError):
                raise
        finally:
            connection.close()
        if position is not None:
            self._positions.note(self._subject, position_of(position))


class NotingOnce(WriteOnce):
    """Commands of which each notes how far its subject has written."""

    __slots__ = ("_positions", "_subject")

    def __init__(self, server: Server, positions: Positions, subject: str) -> None:
        super().__init__(server.connections, server.engine)
        self._positions = positions
        self._subject = subject

    def _run(self, command: Command, values: dict[str, Any]) -> list[Any]:
        rows = super()._run(command, values)
        with self._driver.cursor() as cursor:
            cursor.execute(_POSITION)
            self._positions.note(self._subject, position_of(cursor.fetchone()[0]))
        return rows
