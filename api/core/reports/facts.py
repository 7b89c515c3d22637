"""What is told of an error beside its stack: the request, and what a database or Redis was asked.

All of it is read from the error itself, when there is one: what a request does is not noted on the
way for the sake of a report that it will hardly ever need.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import psycopg2
import redis
import sqlalchemy.exc

from api.core.database.prepared import STATEMENT_NOTE

# Whose messages may have values of parameters in them, and so personal data.
_DATABASE = ("psycopg2", "sqlalchemy")
_REDIS = "redis"
# PostgreSQL repeats a value that it cannot read or store: data exceptions (SQLSTATE class 22).
_DATA_EXCEPTION = "22"
# redis-py repeats the arguments of a command within a pipeline.
_PIPELINED = re.compile(r"\(([A-Za-z]+)\b.*\) of pipeline", re.DOTALL)
# What frames of redis-py call the command that they run.
_COMMAND_NAMES = ("command_name", "operation_name")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """What is told of a request, and what must not be."""

    # The route's template.
    route: str | None
    trace_id: str | None
    tags: Mapping[str, str | None]
    # What the client sent: credentials, values of its query and of its body.
    sent: Collection[str] = field(default=(), repr=False)


# Tells of the request that runs now, if there is one.
Running = Callable[[], RequestFacts | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """What a database said, and to which statement; never with its parameters."""

    statement: str | None
    sqlstate: str | None
    message: str
    constraint: str | None
    table: str | None


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def database_facts(error: BaseException) -> DatabaseFacts | None:
    """What a database has to do with an error."""
    statement = None
    for each in chain_of(error):
        said: BaseException | None = each
        if isinstance(each, sqlalchemy.exc.DBAPIError):
            statement, said = each.statement, each.orig
        if isinstance(said, psycopg2.Error):
            return _of_database(said, statement or _noted(said))
    return None


def redis_command(error: BaseException) -> str | None:
    """The name of the command that failed."""
    for each in chain_of(error):
        if isinstance(each, redis.RedisError):
            names = filter(None, map(_command_of, _frames(each.__traceback__)))
            return next(names, None)
    return None


def telling_value(module: str, value: str, database: DatabaseFacts | None) -> str:
    """What may be told of the message of an exception of this module."""
    package = module.partition(".")[0]
    if package in _DATABASE:
        return database.message if database else value.partition("\n")[0].partition("[")[0]
    if package == _REDIS:
        return _PIPELINED.sub(r"(\1) of pipeline", value)
    return value


def is_away(error: BaseException) -> bool:
    """Whether it only says that a dependency does not answer: its state is told elsewhere."""
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return True
    facts = database_facts(error)
    # Connection exceptions, and a server that goes or comes (PostgreSQL, appendix A).
    return facts is not None and (facts.sqlstate or "08").startswith(("08", "57P"))


def _of_database(error: psycopg2.Error, statement: str | None) -> DatabaseFacts:
    diagnostics, code = error.diag, error.pgcode
    told = "" if code is None or code.startswith(_DATA_EXCEPTION) else diagnostics.message_primary
    return DatabaseFacts(
        statement=statement,
        sqlstate=code,
        message=f"{told or type(error).__name__} (SQLSTATE {code or 'unknown'})",
        constraint=diagnostics.constraint_name,
        table=diagnostics.table_name,
    )


def _noted(error: BaseException) -> str | None:
    notes = getattr(error, "__notes__", ())
    found = [note for note in notes if note.startswith(STATEMENT_NOTE)]
    return found[0].removeprefix(STATEMENT_NOTE) if found else None


def _frames(trace: TracebackType | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    while trace is not None:
        yield trace.tb_frame.f_globals.get("__name__", ""), trace.tb_frame.f_locals
        trace = trace.tb_next


def _command_of(frame: tuple[str, Mapping[str, Any]]) -> str | None:
    module, variables = frame
    if module.partition(".")[0] != _REDIS:
        return None
    names = (variables.get(name) for name in _COMMAND_NAMES)
    return next((name for name in names if isinstance(name, str)), None)
