"""Queries on `click_counts`. All of them walk its primary key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    DateTime,
    LargeBinary,
    bindparam,
    func,
    select,
    text,
)

from api.core.database.routing import ReadSession, WriteSession
from api.stats.folding import QUARTER_SECONDS, CountKey, Visits
from api.stats.models import DIMENSIONS, ClickCount

# Rows held in memory at a time: each has the sketches of up to a day.
_STREAM_ROWS = 200
_DAY = text("interval '1 day'")
_EPOCH = text("timestamptz 'epoch'")
# Each sketch behind its length, as `Tally.add_packed` reads them.
_PACKED = func.string_agg(
    func.int4send(func.length(ClickCount.visitors)).op("||", return_type=LargeBinary())(
        ClickCount.visitors
    ),
    text("''::bytea"),
    type_=LargeBinary,
)

# Rows travel as one JSON text: PostgreSQL reads it faster than arrays of literals, and psycopg2
# has nothing to quote. The order is that of the locks: two writers who take them in the same
# order never wait for each other in a circle.
_ROWS = f"""
    SELECT (row->>0)::smallint AS slot,
           (row->>1)::smallint AS subject,
           (row->>2)::bigint AS subject_id,
           (row->>3)::smallint AS dimension,
           to_timestamp((row->>4)::bigint * {QUARTER_SECONDS}) AS quarter,
           (row->>5)::boolean AS bot,
           row->>6 AS value,
           (row->>7)::bigint AS clicks,
           decode(row->>8, 'hex') AS visitors
    FROM json_array_elements(CAST(:rows AS json)) AS row
    ORDER BY 1, 2, 3, 4, 5, 6, 7
"""
# A sketch cannot be merged in SQL. A row that was there keeps its own and returns it: it is locked
# from here to the end of the transaction, so nobody changes it before it is written back. `xmax`
# is zero in a row that this statement inserted.
_UPSERT = text(
    f"""
    INSERT INTO click_counts AS held
        (slot, subject, subject_id, dimension, quarter, bot, value, clicks, visitors)
    {_ROWS}
    ON CONFLICT (slot, subject, subject_id, dimension, quarter, bot, value)
        DO UPDATE SET clicks = held.clicks + excluded.clicks
    RETURNING slot, subject, subject_id, dimension,
        (extract(epoch FROM quarter) / {QUARTER_SECONDS})::bigint AS quarter, bot, value,
        CASE WHEN xmax <> 0 THEN visitors END AS visitors
    """
)
_UPDATE_VISITORS = text(
    f"""
    UPDATE click_counts AS held SET visitors = new.visitors FROM ({_ROWS}) AS new
    WHERE held.slot = new.slot AND held.subject = new.subject
        AND held.subject_id = new.subject_id AND held.dimension = new.dimension
        AND held.quarter = new.quarter AND held.bot = new.bot AND held.value = new.value
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose clicks are asked for; a link must have been found to be the workspace's."""

    workspace: int
    slot: int
    kind: int
    identifier: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which of a subject's clicks: from `start` up to `end`, bots or people (None: both)."""

    start: datetime
    end: datetime
    bot: bool | None


def upsert_counts(session: WriteSession, rows: Mapping[CountKey, Visits]) -> dict[CountKey, bytes]:
    """Add clicks to their rows; a new row gets its sketch, the others' held ones are returned."""
    document = orjson.dumps(
        [(*key, visits.clicks, visits.sketch.hex()) for key, visits in rows.items()]
    )
    result = session.execute(_UPSERT, {"rows": document.decode()})
    return {CountKey(*row[:7]): bytes(row[7]) for row in result if row[7] is not None}


def update_visitors(session: WriteSession, sketches: Mapping[CountKey, bytes]) -> None:
    """Write sketches back to rows that this transaction has locked."""
    if sketches:
        rows = [(*key, 0, sketch.hex()) for key, sketch in sketches.items()]
        session.execute(_UPDATE_VISITORS, {"rows": orjson.dumps(rows).decode()})


def hold_snapshot(session: ReadSession) -> None:
    """Let all queries of this transaction, which must be the first thing it does, see one state."""
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def find_top_values(
    session: ReadSession, subject: Subject, selection: Selection, dimension: str, limit: int
) -> dict[str, int]:
    """The values with the most clicks, and their clicks."""
    clicks = func.sum(ClickCount.clicks)
    query = (
        select(ClickCount.value, clicks)
        .where(*_chosen(subject, selection, dimension))
        .group_by(ClickCount.value)
        .order_by(clicks.desc(), ClickCount.value)
        .limit(limit)
    )
    return {value: int(count) for value, count in session.execute(query)}


def stream_buckets(
    session: ReadSession, subject: Subject, selection: Selection, starts: list[datetime]
) -> Iterator[tuple[int, int, bytes]]:
    """Bucket (1 for the first of `starts`), clicks and packed sketches; a bucket may come again."""
    boundaries = bindparam("boundaries", starts, type_=ARRAY(DateTime(timezone=True)))
    bucket: ColumnElement[int] = func.width_bucket(ClickCount.quarter, boundaries)
    return _stream(session, bucket, _chosen(subject, selection, "total"))


def stream_values(
    session: ReadSession, subject: Subject, selection: Selection, dimension: str
) -> Iterator[tuple[str, int, bytes]]:
    """Value, clicks and packed sketches; a value may come again."""
    return _stream(session, ClickCount.value, _chosen(subject, selection, dimension))


def _chosen(
    subject: Subject, selection: Selection, dimension: str
) -> Iterator[ColumnElement[bool]]:
    yield ClickCount.slot == subject.slot
    yield ClickCount.subject == subject.kind
    yield ClickCount.subject_id == subject.identifier
    yield ClickCount.dimension == DIMENSIONS[dimension]
    yield ClickCount.quarter >= selection.start.astimezone(UTC)
    yield ClickCount.quarter < selection.end.astimezone(UTC)
    if selection.bot is not None:
        yield ClickCount.bot == selection.bot


def _stream(session: ReadSession, key: Any, chosen: Iterator[ColumnElement[bool]]) -> Iterator[Any]:
    # A row for each quarter costs three times as much; one for a whole period has no bound.
    query = (
        select(key.label("key"), func.sum(ClickCount.clicks).cast(BigInteger), _PACKED)
        .where(*chosen)
        .group_by("key", func.date_bin(_DAY, ClickCount.quarter, _EPOCH))
    )
    yield from session.execute(query, execution_options={"yield_per": _STREAM_ROWS})
