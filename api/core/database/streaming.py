"""Rows that are read through a cursor of the server's: as many as there are, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from sqlalchemy import TextClause, text
from sqlalchemy.sql.expression import Executable

from api.core.database.routing import ReadSession
from api.core.database.sessions import AnyRow

# Rows come in the order of an index, one by one: to sort, to hash or to hold all of a table before
# the first row would be done again by each cursor that goes on where another has ended. Costs do
# not say so, neither those of all rows nor those of the first ones. And what is read no faster than
# somebody takes it is not worth compiling.
_OFF = (
    "enable_sort",
    "enable_hashjoin",
    "enable_mergejoin",
    "enable_material",
    "enable_seqscan",
    "enable_bitmapscan",
    "jit",
)
# A cursor has no other processes anyway; so it is planned as the statement alone would be.
_PLANNING = "SET LOCAL cursor_tuple_fraction = 1; SET LOCAL max_parallel_workers_per_gather = 0; "


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
    planning = _PLANNING + "".join(f"SET LOCAL {name} = off; " for name in _OFF)
    return text(f"{planning}SET LOCAL idle_in_transaction_session_timeout = {idle_milliseconds}")
