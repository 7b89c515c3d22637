"""Raw clicks and the segments they came in."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from functools import lru_cache

import psycopg2
from sqlalchemy import delete, exc, func, select, text, tuple_

from api.clicks.enriched import EnrichedClick
from api.clicks.models import Click, ClickErasure, IngestedSegment
from api.core.database.routing import ReadSession, WriteSession
from api.core.database.sessions import AnyRow, SlotRange
from api.core.ids import SLOTS

_COLUMNS = ("clicked_at" if name == "at_ms" else name for name in EnrichedClick._fields)
# Of a click what is shown of it: its link, and whose that is, are asked by.
_SHOWN = [
    getattr(Click, it.key)
    for it in Click.__table__.columns
    if it.key not in ("slot", "link_id", "workspace_id")
]
_EVER = text("timestamptz '-infinity'")
_COPY = f"COPY clicks ({', '.join(_COLUMNS)}) FROM STDIN"
# psycopg2 reads 8 KiB at a time by default, which costs a tenth of the whole.
_COPY_CHUNK = 1 << 18
_SEGMENTS = "unnest(CAST(:slots AS smallint[]), CAST(:names AS text[])) AS new (slot, segment_id)"
_COVERS = "CAST(:covers AS int4multirange)"
_REMEMBER = text(
    f"""
    INSERT INTO ingested_segments (slot, segment_id, covered)
    SELECT slot, segment_id, {_COVERS} FROM {_SEGMENTS}
    ON CONFLICT DO NOTHING
    RETURNING segment_id
    """
)
_REMEMBERED = text(
    f"""
    SELECT segment_id,
        ARRAY(SELECT ARRAY[lower(part), upper(part) - 1] FROM unnest(covered) AS part)
    FROM ingested_segments JOIN {_SEGMENTS} USING (slot, segment_id)
    WHERE NOT covered @> {_COVERS}
    ORDER BY slot, segment_id
    FOR UPDATE OF ingested_segments
    """
)
_COVER = text(
    f"""
    UPDATE ingested_segments AS held SET covered = covered + {_COVERS}, ingested_at = now()
    FROM {_SEGMENTS}
    WHERE held.slot = new.slot AND held.segment_id = new.segment_id
        AND NOT covered @> {_COVERS}
    """
)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - COPY is told the zone with each row


def segment_slot(segment_id: str) -> int:
    """The slot under which a segment is remembered."""
    return zlib.crc32(segment_id.encode()) % SLOTS


def insert_segments(
    session: WriteSession, segment_ids: Iterable[str], covers: Sequence[SlotRange]
) -> dict[str, Sequence[SlotRange]]:
    """Remember that segments are counted for the slots that the shard `covers`.

    Those that were not yet, for some slot, each with the slots for which it was: with the rows of
    a slot that moves, what is remembered of it moves, too.

    Sorted, so that two consumers with the same segments wait for one another and never lock each
    other out. The second waits until the first has committed, and then gets nothing.
    """
    names = sorted(set(segment_ids))
    if not names:
        return {}
    parameters = {
        "slots": list(map(segment_slot, names)),
        "names": names,
        "covers": "{" + ",".join(f"[{first},{last}]" for first, last in covers) + "}",
    }
    counted: dict[str, Sequence[SlotRange]] = dict.fromkeys(
        session.scalars(_REMEMBER, parameters), ()
    )
    if len(counted) < len(names):
        for name, ranges in session.execute(_REMEMBERED, parameters).all():
            if name not in counted:
                counted[name] = [(first, last) for first, last in ranges]
        session.execute(_COVER, parameters)
    return counted


def delete_segments(session: WriteSession, older_than: timedelta, limit: int) -> int:
    """Forget at most `limit` segments that nobody can deliver any more; how many."""
    old = (
        select(IngestedSegment.slot, IngestedSegment.segment_id)
        .where(IngestedSegment.ingested_at < func.now() - older_than)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    keys = session.execute(old).all()
    if keys:
        name = tuple_(IngestedSegment.slot, IngestedSegment.segment_id)
        session.execute(delete(IngestedSegment).where(name.in_(keys)))
    return len(keys)


def copy_rows(clicks: Iterable[EnrichedClick]) -> str:
    """Clicks as the body of a COPY."""
    return "".join(map(_row, clicks))


def copy_clicks(session: WriteSession, rows: str) -> None:
    """Store the clicks of `copy_rows`, in the session's transaction; their months must exist.

    Raises:
        sqlalchemy.exc.DBAPIError: as a statement of SQLAlchemy's own would.
    """
    connection = session.connection().connection
    try:
        with closing(connection.cursor()) as cursor:
            cursor.copy_expert(_COPY, io.StringIO(rows), _COPY_CHUNK)
    except psycopg2.Error as error:
        raise exc.DBAPIError.instance(_COPY, None, error, psycopg2.Error) from error


def find_clicks(
    session: ReadSession,
    workspace: int,
    slot: int,
    link_id: int,
    *,
    before: tuple[datetime, int] | None,
    limit: int,
) -> Sequence[AnyRow]:
    """Clicks of a link, newest first, those after the place `before` in that order; none of those
    that were erased, also where they are not deleted yet."""
    erased_until = (
        select(ClickErasure.erased_until)
        .where(ClickErasure.slot == slot, ClickErasure.link_id == link_id)
        .scalar_subquery()
    )
    query = (
        select(*_SHOWN)
        .where(Click.slot == slot, Click.link_id == link_id, Click.workspace_id == workspace)
        .where(Click.clicked_at > func.coalesce(erased_until, _EVER))
        .order_by(Click.clicked_at.desc(), Click.id.desc())
        .limit(limit)
    )
    if before is not None:
        # The first condition follows from the second; it spares the months after the place.
        query = query.where(
            Click.clicked_at <= before[0], tuple_(Click.clicked_at, Click.id) < before
        )
    return session.execute(query).all()


def _row(click: EnrichedClick) -> str:
    """One line of COPY. Enriched text holds no tab and no newline, so only `\\` is escaped."""
    (slot, link_id, at_ms, identifier, workspace_id, visitor, bot, *texts, address) = click
    second, millisecond = divmod(at_ms, 1000)
    text = "\t".join(texts)
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    return (
        f"{slot}\t{link_id}\t{_second(second)}.{millisecond:03d}+00\t{identifier}\t{workspace_id}"
        f"\t{visitor}\t{'t' if bot else 'f'}\t{text}\t{address or _NULL}\n"
    )


@lru_cache(4_096)
def _second(second: int) -> str:
    return str(_EPOCH + timedelta(seconds=second))


_NULL = "\\N"
