"""Rows that are read through a cursor of the server's: as many as there are, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from sqlalchemy import TextClause, text
from sqlalchemy.sql.expression import Executable

from api.core.database.routing import ReadSession
from api.core.database.sessions import AnyRow

# Whoever reads a part, and goes on later where it ended, wants the rows in the order of an index:
# to sort all of them first would be done again each time. And what is read slowly is neither worth
# compiling nor in need of more than one process.
_PLANS = ("enable_sort", "enable_hashjoin", "enable_mergejoin", "enable_bitmapscan", "jit")


def stream_rows(
    session: ReadSession, statement: Executable, *, at_once: int, idle_seconds: float
) -> Iterator[Sequence[AnyRow]]:
    """The rows of `statement`, `at_once` of them with each step; they must come in the order of an
    index.

    What PostgreSQL allows a statement is allowed to each step. Between two steps whoever takes the
    rows may wait for `idle_seconds`.
    """
    session.execute(_settings(max(int(idle_seconds * 1000), 1)))
    result = session.connection().execute(statement, execution_options={"yield_per": at_once})
    yield from result.partitions()


@lru_cache(maxsize=16)
def _settings(idle_milliseconds: int) -> TextClause:
    planning = "".join(f"SET LOCAL {name} = off; " for name in _PLANS)
    return text(
        f"{planning}SET LOCAL cursor_tuple_fraction = 0; "
        f"SET LOCAL idle_in_transaction_session_timeout = {idle_milliseconds}"
    )
