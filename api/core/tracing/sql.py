"""A span for each statement, and each commit, of psycopg2's connections.

At the driver, since not all that is asked goes through SQLAlchemy: short questions and COPY do not.
What a statement is called with is never looked at; what stands in quotes within it is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection, cursor

from api.core.tracing.spans import CLIENT, begin

_LONGEST_TEXT = 4_096
_QUOTED = re.compile(r"'(?:[^']|'')*'")
_VERB = re.compile(r"(?:SET [^;]*;\s*)*\s*([A-Za-z]+)")
_TABLE = re.compile(
    # What is followed by a parenthesis is a function; or COPY names columns, and INSERT.
    r"\b(?:(?:COPY|INTO)\s+\"?([a-z_][\w.]*)|(?:FROM|UPDATE|JOIN|TABLE)\s+(?:ONLY\s+)?"
    r"\"?([a-z_][\w.]*)\b(?!\s*\())",
    re.IGNORECASE,
)


class TracedConnection(connection):
    """A connection whose statements are spans of whoever runs them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cursor_factory = TracedCursor
        self.place: dict[str, Any] = {
            "db.system.name": "postgresql",
            "db.namespace": self.info.dbname,
        }
        if host := self.info.host:
            self.place |= {"server.address": host, "server.port": self.info.port}

    def commit(self) -> None:
        """Commit, which takes its time where something was written."""
        if self.get_transaction_status() == TRANSACTION_STATUS_IDLE:
            super().commit()
        else:
            _traced(self, "COMMIT", super().commit)


class TracedCursor(cursor):
    """A cursor of such a connection."""

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - the driver's name
        """Run a statement."""
        _traced(self.connection, query, super().execute, query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        """Run a statement for several parameters."""
        _traced(self.connection, query, super().executemany, query, vars_list)

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        """Run a COPY."""
        _traced(self.connection, sql, super().copy_expert, sql, file, size)


def _traced(driver: Any, query: Any, run: Callable[..., None], *arguments: Any) -> None:
    # Put together by the driver's own helpers, bytes hold what the statement is called with.
    name, text = _described(query) if type(query) is str else ("SQL", None)
    span = begin(name, CLIENT, driver.place | text if text else driver.place.copy())
    if span is None:
        return run(*arguments)
    try:
        return run(*arguments)
    except BaseException as error:
        span.fail(error)
        raise
    finally:
        span.end()


@lru_cache(1_024)
def _described(query: str) -> tuple[str, dict[str, str]]:
    """What a span of this statement is called, and its attributes."""
    text = " ".join(_QUOTED.sub("'?'", query).split())
    verb = _VERB.match(text)
    operation = verb[1].upper() if verb else "SQL"
    table = _TABLE.search(text)
    attributes = {"db.operation.name": operation, "db.query.text": text[:_LONGEST_TEXT]}
    if table is None:
        return operation, attributes
    name = table[1] or table[2]
    return f"{operation} {name}", attributes | {"db.collection.name": name}
