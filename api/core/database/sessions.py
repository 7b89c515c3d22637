"""A transaction on one server, as stores are given it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import ColumnElement, Connection, CursorResult, Engine, Row, ScalarResult, exc
from sqlalchemy.sql.expression import Executable

from api.core.database.failures import away, busy, is_read_only, moved
from api.core.database.pools import MeasuredPool
from api.core.dependencies import Dependency

# What a query gives, of columns that the type checker need not know one by one.
AnyRow: TypeAlias = Row[*tuple[Any, ...]]
# The first and the last of slots that follow each other.
SlotRange: TypeAlias = tuple[int, int]
Parameters: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class ReadSession:
    """A transaction that PostgreSQL itself holds to reading. It begins with its first statement.

    Rows are all that it gives: an ORM session would remember objects that nobody asks for again,
    and to load one takes a tenth of the time in which a redirect process starts.
    """

    def __init__(self, engine: Engine, foreign: Sequence[SlotRange] = ()) -> None:
        """`foreign` are slots of which the database has copies that are not to be read."""
        self._engine = engine
        self.foreign = foreign
        self._connection: Connection | None = None

    def connection(self, execution_options: Mapping[str, Any] | None = None) -> Connection:
        """SQLAlchemy's connection; options, such as an isolation level, with the first call."""
        if self._connection is None:
            self._connection = self._engine.connect()
            if execution_options:
                self._connection.execution_options(**execution_options)
            self._connection.begin()
        elif execution_options:
            raise ValueError("the transaction has begun already")
        return self._connection

    def owned(self, slot: Any) -> list[ColumnElement[bool]]:
        """Conditions on a column of slots that leave out rows which are only copies; for questions
        that go over a whole shard."""
        return [~slot.between(first, last) for first, last in self.foreign]

    def is_copy(self, slot: int) -> bool:
        """The same of a row that was read."""
        return any(first <= slot <= last for first, last in self.foreign)

    def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Run a statement; several times, for several parameters."""
        return self.connection().execute(statement, parameters)

    def scalar(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row, None without a row."""
        return self.connection().scalar(statement, parameters)

    def scalars(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> ScalarResult[Any]:
        """The first column of each row."""
        return self.connection().scalars(statement, parameters)

    @property
    def is_replica(self) -> bool:
        """Whether a replica answers it, as far as it has come."""
        return False

    @property
    def has_begun(self) -> bool:
        """Whether the database was asked anything."""
        return self._connection is not None

    @property
    def database(self) -> Dependency:
        """Where it is, as this process finds it."""
        pool = self._engine.pool
        assert isinstance(pool, MeasuredPool)  # noqa: S101 - so engines are made here
        return pool.database

    def end(self, *, commit: bool) -> None:
        """Commit or roll back, if anything has begun, and give the connection back."""
        if self._connection is None:
            return
        with self._connection as connection:
            if commit:
                connection.commit()
            else:
                connection.rollback()


class WriteSession(ReadSession):
    """A transaction that may write. What reads can also be done in one, never the reverse."""

    def drop_pool(self) -> None:
        """Drop the connections that lead where this one led."""
        self._engine.dispose()


AnySession = TypeVar("AnySession", bound=ReadSession)


@contextmanager
def transaction(session: AnySession) -> Iterator[AnySession]:
    """A session that is committed at the end of the context, rolled back on an exception.

    Raises:
        Unavailable: the server is away, the pool exhausted, or what was the primary is none now.
        Moved: it does not own the slot any more.
    """
    try:
        try:
            yield session
        except BaseException:
            session.end(commit=False)
            raise
        session.end(commit=True)
        if session.has_begun:
            session.database.answered()
    except exc.TimeoutError as error:
        raise busy(error) from error
    except (exc.OperationalError, exc.InterfaceError) as error:
        raise away(error.orig, session.database) from error
    except exc.InternalError as error:
        if not (isinstance(session, WriteSession) and is_read_only(error.orig)):
            raise
        # The next connection is made to the server that can be written then.
        session.drop_pool()
        raise away(error.orig, session.database) from error
    except exc.DatabaseError as error:
        if refused := moved(error.orig):
            raise refused from error
        raise
