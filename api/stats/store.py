"""Queries on the counts of clicks. Questions walk the primary key."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import psycopg2
from sqlalchemy import ARRAY, DateTime, bindparam, delete, exc, text

from api.core.database.locks import REWRITING_COUNTS
from api.core.database.routing import ReadSession, WriteSession
from api.stats.folding import Count, Fold
from api.stats.models import (
    DIMENSIONS,
    GRAIN_DAY,
    GRAIN_QUARTER,
    GRAIN_SECONDS,
    SUBJECT_LINK,
    ClickCount,
)
from api.stats.spans import Span, Spans

# Rows held in memory at a time: each has the visitors of up to a day.
_STREAM_ROWS = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

REBUILT = "rebuilt_counts"
_KEPT = "kept_counts"
_REPLACED = (
    "held.start >= :start AND held.start < :end AND NOT EXISTS (SELECT FROM kept_counts"
    " WHERE kept_counts.workspace_id = held.workspace_id AND held.start < kept_counts.until)"
)
KEY = "slot, subject, subject_id, grain, start, bot"
_DIMENSIONS = ", ".join(DIMENSIONS)
_COLUMNS = f"{KEY}, part, workspace_id, clicks, visitors, {_DIMENSIONS}"
_NULL = "\\N"
_TIMES = ARRAY(DateTime(timezone=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose clicks are asked for; a link must have been found to be the workspace's."""

    slot: int
    kind: int
    identifier: int


class CountRow(NamedTuple):
    """A part of a count, as a question reads it."""

    start: datetime
    clicks: int
    visitors: bytes
    values: bytes | None  # of the dimension that was asked for


class CountPart(NamedTuple):
    """A part of a count with all that it holds."""

    key: tuple[int, int, int, int, datetime, bool]
    part: int
    workspace_id: int
    fold: Fold


def copy_counts(
    session: WriteSession, counts: Iterable[Count], table: str = "click_counts"
) -> None:
    """Add parts of counts with COPY, in the session's transaction.

    Raises:
        sqlalchemy.exc.DBAPIError: as a statement of SQLAlchemy's own would.
    """
    statement = f"COPY {table} ({_COLUMNS}) FROM STDIN"
    tails: dict[int, str] = {}
    body = io.StringIO("".join(_line(count, tails) for count in counts))
    connection = session.connection().connection
    try:
        with closing(connection.cursor()) as cursor:
            cursor.copy_expert(statement, body)
    except psycopg2.Error as error:
        raise exc.DBAPIError.instance(statement, None, error, psycopg2.Error) from error


def hold_snapshot(session: ReadSession) -> None:
    """Let all queries of this transaction, which must be the first thing it does, see one state."""
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def stream_counts(
    session: ReadSession, subject: Subject, spans: Spans, bot: bool | None, dimension: str | None
) -> Iterator[CountRow]:
    """The counts of a subject within `spans`, in the order of time."""
    return heapq.merge(
        *(
            _stream(session, subject, grain, chosen, bot, dimension)
            for grain, chosen in ((GRAIN_DAY, spans.days), (GRAIN_QUARTER, spans.quarters))
            if chosen
        ),
        key=attrgetter("start"),
    )


def delete_counts(session: WriteSession, subject: Subject) -> None:
    """Delete all counts of a subject; `lock_rewriting` must be held."""
    session.execute(
        delete(ClickCount).where(
            ClickCount.slot == subject.slot,
            ClickCount.subject == subject.kind,
            ClickCount.subject_id == subject.identifier,
        )
    )


def lock_rewriting(session: WriteSession) -> None:
    """Wait until nobody else replaces counts of this shard; held to the transaction's end."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": REWRITING_COUNTS})


def try_lock_rewriting(session: WriteSession) -> bool:
    """The same without waiting; whether the lock is held now."""
    query = text("SELECT pg_try_advisory_xact_lock(:key)")
    return bool(session.scalar(query, {"key": REWRITING_COUNTS}))


def get_progress(session: ReadSession, slot: int) -> int:
    """Up to which part the counts were compacted."""
    query = text("SELECT compacted_to FROM click_count_progress WHERE slot = :slot")
    return session.scalar(query, {"slot": slot}) or 0


def update_progress(session: WriteSession, slot: int, part: int) -> None:
    """Remember up to which part the counts were compacted."""
    session.execute(
        text(
            "INSERT INTO click_count_progress VALUES (:slot, :part)"
            " ON CONFLICT (slot) DO UPDATE SET compacted_to = excluded.compacted_to"
        ),
        {"slot": slot, "part": part},
    )


def find_last_part(session: ReadSession, after: int, before: int, limit: int) -> int | None:
    """The last of the next `limit` parts between two; None when there is none."""
    query = text(
        "SELECT max(part) FROM (SELECT part FROM click_counts WHERE part > :after"
        " AND part < :before ORDER BY part LIMIT :limit) AS next"
    )
    last: int | None = session.scalar(query, {"after": after, "before": before, "limit": limit})
    return last


def find_divided(session: WriteSession, after: int, last: int) -> list[CountPart]:
    """All parts of the counts that got one after `after` up to `last` and have several; locked.

    In the order of their keys.
    """
    owned = "".join(f" AND slot NOT BETWEEN {low} AND {high}" for low, high in session.foreign)
    query = text(
        f"""
        SELECT {_COLUMNS} FROM click_counts
        WHERE ({KEY}) IN (
            SELECT {KEY} FROM click_counts WHERE ({KEY}) IN (
                SELECT {KEY} FROM click_counts WHERE part > :after AND part <= :last{owned}
            )
            GROUP BY {KEY} HAVING count(*) > 1
        )
        ORDER BY {KEY}
        FOR UPDATE
        """
    )
    rows = session.connection().execute(query, {"after": after, "last": last})
    return list(map(_count_part, rows))


def replace_parts(
    session: WriteSession, replaced: Sequence[CountPart], counts: Sequence[Count]
) -> None:
    """Delete parts, and add others that say the same."""
    session.execute(
        _DELETE_PARTS,
        {
            name: [(*part.key, part.part)[place] for part in replaced]
            for place, name in enumerate(_KEYS)
        },
    )
    copy_counts(session, counts)


def count_of(part: CountPart, number: int, fold: Fold) -> Count:
    """A count with the key of a part that was read."""
    slot, subject, subject_id, grain, start, bot = part.key
    units = (start - _EPOCH) // timedelta(seconds=GRAIN_SECONDS[grain])
    return Count(slot, subject, subject_id, grain, units, bot, number, part.workspace_id, fold)


def create_rebuilt(session: WriteSession, horizons: Mapping[int, datetime]) -> None:
    """Make the temporary tables of a rebuild; `horizons` tells by workspace since when its raw
    clicks are complete."""
    session.execute(text(f"CREATE TEMPORARY TABLE {REBUILT} (LIKE click_counts) ON COMMIT DROP"))
    session.execute(
        text(
            f"CREATE TEMPORARY TABLE {_KEPT} (workspace_id bigint PRIMARY KEY, until timestamptz)"
            " ON COMMIT DROP"
        )
    )
    rows = [{"workspace": key, "complete": moment} for key, moment in horizons.items()]
    if rows:
        # Of a day that is not complete the whole count is kept.
        session.execute(
            text(
                f"INSERT INTO {_KEPT} VALUES (:workspace, date_trunc('day',"
                " CAST(:complete AS timestamptz) + interval '1 day' - interval '1 microsecond',"
                " 'UTC'))"
            ),
            rows,
        )


def find_kept(session: ReadSession) -> dict[int, int]:
    """Up to when the counts of workspaces stay as they are, in milliseconds since 1970."""
    query = text(f"SELECT workspace_id, extract(epoch FROM until) * 1000 FROM {_KEPT}")
    return {workspace: int(until) for workspace, until in session.execute(query)}


def has_replaced(session: ReadSession, start: datetime, end: datetime) -> bool:
    """Whether there is anything that a rebuild would replace."""
    query = text(f"SELECT EXISTS (SELECT FROM click_counts AS held WHERE {_REPLACED})")
    return bool(session.scalar(query, {"start": start, "end": end}))


def sum_rebuilt(session: ReadSession) -> tuple[int, int]:
    """How many counts were made again, and the sum of their clicks."""
    query = text(
        f"SELECT count(*), coalesce(sum(clicks), 0)::bigint FROM"
        f" (SELECT sum(clicks) AS clicks FROM {REBUILT} GROUP BY {KEY}) AS counts"
    )
    counts, clicks = session.execute(query).one()
    return counts, clicks


def stream_both(
    session: WriteSession, start: datetime, end: datetime
) -> Iterator[tuple[bool, CountPart]]:
    """The parts that are there (false) and those that were made again (true), by their keys."""
    query = text(
        f"SELECT false, {_COLUMNS} FROM click_counts AS held WHERE {_REPLACED}"
        f" UNION ALL SELECT true, {_COLUMNS} FROM {REBUILT} ORDER BY {KEY}"
    )
    result = session.connection().execute(
        query, {"start": start, "end": end}, execution_options={"yield_per": _STREAM_ROWS}
    )
    for rebuilt, *row in result:
        yield rebuilt, _count_part(row)


def replace_rebuilt(session: WriteSession, start: datetime, end: datetime) -> None:
    """Put what was made again into the place of what was there."""
    parameters = {"start": start, "end": end}
    session.execute(text(f"DELETE FROM click_counts AS held WHERE {_REPLACED}"), parameters)
    session.execute(text(f"INSERT INTO click_counts ({_COLUMNS}) SELECT {_COLUMNS} FROM {REBUILT}"))


def link_subject(slot: int, link_id: int) -> Subject:
    """A link."""
    return Subject(slot=slot, kind=SUBJECT_LINK, identifier=link_id)


def _stream(
    session: ReadSession,
    subject: Subject,
    grain: int,
    spans: Sequence[Span],
    bot: bool | None,
    dimension: str | None,
) -> Iterator[CountRow]:
    parameters: dict[str, Any] = {
        "slot": subject.slot,
        "subject": subject.kind,
        "identifier": subject.identifier,
        "grain": grain,
        "bot": bot,
    }
    if len(spans) == 1:
        ((parameters["first"], parameters["last"]),) = spans
    else:
        parameters["first"] = [start for start, _ in spans]
        parameters["last"] = [end for _, end in spans]
    query = _query(len(spans) == 1, bot is not None, dimension)
    # By the connection: nothing here is an object of a table, and there may be many rows.
    result = session.connection().execute(
        query, parameters, execution_options={"yield_per": _STREAM_ROWS}
    )
    for start, clicks, visitors, values in result:
        yield CountRow(start, clicks, bytes(visitors), None if values is None else bytes(values))


@lru_cache(64)
def _query(single: bool, by_bot: bool, dimension: str | None) -> Any:
    column = "NULL" if dimension is None else f"held.{dimension}"
    source, first, last = "click_counts AS held", ":first", ":last"
    if not single:
        source, first, last = f"unnest(:first, :last) AS span (a, b), {source}", "span.a", "span.b"
    query = text(
        f"SELECT held.start, held.clicks, held.visitors, {column} FROM {source}"
        " WHERE held.slot = :slot AND held.subject = :subject AND held.subject_id = :identifier"
        f" AND held.grain = :grain AND held.start >= {first} AND held.start < {last}"
        f"{' AND held.bot = :bot' if by_bot else ''} ORDER BY held.start"
    )
    if single:
        return query
    return query.bindparams(bindparam("first", type_=_TIMES), bindparam("last", type_=_TIMES))


_KEYS = ("slot", "subject", "subject_id", "grain", "start", "bot", "part")
_TYPES = ("smallint", "smallint", "bigint", "smallint", "timestamptz", "boolean", "bigint")
_DELETE_PARTS = text(
    "DELETE FROM click_counts AS held USING unnest("
    + ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in zip(_KEYS, _TYPES, strict=True))
    + f") AS old ({', '.join(_KEYS)}) WHERE "
    + " AND ".join(f"held.{name} = old.{name}" for name in _KEYS)
)


def _count_part(row: Any) -> CountPart:
    values = tuple(row)
    workspace_id, clicks, visitors, *dimensions = values[len(_KEYS) :]
    return CountPart(
        values[: len(_KEYS) - 1],
        values[len(_KEYS) - 1],
        workspace_id,
        Fold(
            clicks,
            bytes(visitors),
            tuple(None if packed is None else bytes(packed) for packed in dimensions),
        ),
    )


def _line(count: Count, tails: dict[int, str]) -> str:
    """One line of COPY."""
    fold = count.fold
    # The same fold stands in several counts.
    tail = tails.get(id(fold))
    if tail is None:
        tail = tails[id(fold)] = "\t".join(
            (str(fold.clicks), _hex(fold.visitors), *map(_hex, fold.dimensions))
        )
    return (
        f"{count.slot}\t{count.subject}\t{count.subject_id}\t{count.grain}\t"
        f"{_start(count.grain, count.start)}\t{'t' if count.bot else 'f'}\t{count.part}\t"
        f"{count.workspace_id}\t{tail}\n"
    )


def _hex(packed: bytes | None) -> str:
    return _NULL if packed is None else f"\\\\x{packed.hex()}"


@lru_cache(10_000)
def _start(grain: int, units: int) -> str:
    return (_EPOCH + timedelta(seconds=units * GRAIN_SECONDS[grain])).isoformat()
