"""Statements that are asked all the time: compiled once, and run in one round trip.

To build, cache and run a statement through an ORM session costs ten times what the driver and
the server take for a short one, and each transaction around it two round trips more. Here stores
state a question once, as SQLAlchemy expressions; it is asked on the driver, and is a transaction
of its own.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import psycopg2
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.sql.expression import Executable, Select

from api.core.database.connections import Connections
from api.core.database.failures import away, is_read_only, moved
from api.core.database.sessions import SlotRange
from api.core.database.timeouts import TRANSACTION_LIMITS

# What stands before the statement in a note of an error (PEP 678).
STATEMENT_NOTE = "SQL: "
_DIALECT = PGDialect_psycopg2()  # type: ignore[no-untyped-call]


class Command:
    """A statement that may write, as the driver's SQL; its rows are named tuples."""

    def __init__(self, statement: Executable) -> None:
        compiled = statement.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
        self.sql = str(compiled)
        # The constants of the statement, such as a limit that never differs.
        self.constants = {
            name: value for name, value in compiled.params.items() if value is not None
        }
        columns = statement.exported_columns.keys()  # type: ignore[attr-defined]
        self.row_of = _named_tuple(columns)


def _named_tuple(columns: Sequence[str]) -> Callable[[Sequence[Any]], Any]:
    make: Any = namedtuple("Row", columns)  # type: ignore[misc] # known only now
    return make._make


class Question(Command):
    """A statement that only reads."""

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        super().__init__(statement)


class ReadOnce:
    """A connection for questions, each of which sees what is committed when it is asked."""

    __slots__ = ("_connections", "_driver", "_held", "_limits", "_watchers", "foreign")

    # PostgreSQL itself holds it to reading. Both are one message, and so one transaction and one
    # round trip; the answer is of the second.
    _prefix = "SET TRANSACTION READ ONLY; "

    def __init__(
        self, connections: Connections, engine: Engine, foreign: Sequence[SlotRange] = ()
    ) -> None:
        """`foreign` is as in `ReadSession`; a question that was compiled cannot leave them out."""
        self.foreign = foreign
        self._connections = connections
        self._watchers = engine.dispatch.before_cursor_execute
        self._limits = engine.get_execution_options().get(TRANSACTION_LIMITS, "")

    def __enter__(self) -> Self:
        self._held = self._connections.take()
        self._driver = self._held.driver
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connections.give(self._held, usable=not self._driver.closed)
        if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
            raise away(error, self._connections.database) from error
        if error is None:
            self._connections.database.answered()
        elif isinstance(error, psycopg2.DatabaseError) and (refused := moved(error)):
            raise refused from error

    def ask(self, question: Question, **values: Any) -> list[Any]:
        """The rows of the answer."""
        return self._run(question, values)

    def ask_one(self, question: Question, **values: Any) -> Any | None:
        """The row of the answer, None where there is none."""
        rows = self._run(question, values)
        return rows[0] if rows else None

    def _run(self, command: Command, values: dict[str, Any]) -> list[Any]:
        values |= command.constants
        with self._driver.cursor() as cursor:
            # Whoever watches the statements of sessions is told of these too.
            for note in self._watchers:
                note(None, cursor, command.sql, values, None, False)
            try:
                cursor.execute(self._prefix + self._limits + command.sql, values)
            except psycopg2.Error as error:
                # Without the values. SQLAlchemy's errors name their statement, too.
                error.add_note(STATEMENT_NOTE + command.sql)
                raise
            return list(map(command.row_of, cursor.fetchall()))


class WriteOnce(ReadOnce):
    """A connection for commands, each committed when it is answered."""

    __slots__ = ("_engine",)

    _prefix = ""

    def __init__(self, connections: Connections, engine: Engine) -> None:
        super().__init__(connections, engine)
        self._engine = engine

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if is_read_only(error):
            self._driver.close()
        super().__exit__(kind, error, trace)
        if is_read_only(error):
            # The next connection is made to the server that can be written then.
            self._engine.dispose()
            raise away(error, self._connections.database) from error

    def run(self, command: Command, **values: Any) -> list[Any]:
        """The rows that the command returns."""
        return self._run(command, values)
