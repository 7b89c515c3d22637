"""Writing links in bulk: COPY into a table of the transaction's own, and from there."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ARRAY, BigInteger, DateTime, SmallInteger, bindparam, text

from api.core.database.routing import WriteSession

_COLUMNS = (
    "slot id workspace_id domain slug url title tags starts_at expires_at max_clicks uses"
    " password_hash redirect_status forward_query enabled metadata created_at updated_at"
).split()
_NAMES = ", ".join(_COLUMNS)
_COPIED = (*_COLUMNS, "clicks", "last_clicked_at")
_COPY_CHUNK = 1 << 18
_ARRIVING = text(
    f"""
    CREATE TEMPORARY TABLE arriving_links ON COMMIT DROP AS
    SELECT {_NAMES}, 0::bigint AS clicks, now() AS last_clicked_at FROM links WITH NO DATA
    """
)
_COPY = f"COPY arriving_links ({', '.join(_COPIED)}) FROM STDIN"
# Sorted, so that two writers of the same slugs wait for each other in turn.
_INSERT = text(
    f"""
    WITH made AS (
        INSERT INTO links ({_NAMES})
        SELECT {_NAMES} FROM arriving_links ORDER BY slot, domain, slug
        ON CONFLICT DO NOTHING
        RETURNING slot, id, workspace_id, tags
    ), tagged AS (
        INSERT INTO link_tags (slot, link_id, workspace_id, tag)
        SELECT slot, id, workspace_id, unnest(tags) FROM made
    ), counted AS (
        INSERT INTO link_totals (slot, link_id, clicks, last_clicked_at)
        SELECT made.slot, made.id, clicks, coalesce(last_clicked_at, created_at)
        FROM made JOIN arriving_links USING (slot, id)
        WHERE clicks > 0
    )
    SELECT id FROM made
    """
)
_RAISE = text(
    """
    INSERT INTO link_totals AS held (slot, link_id, clicks, last_clicked_at)
    SELECT slot, link, max(clicks), max(moment)
    FROM unnest(:slots, :links, :clicks, :moments) AS new (slot, link, clicks, moment)
    GROUP BY slot, link ORDER BY slot, link
    ON CONFLICT (slot, link_id) DO UPDATE SET
        clicks = greatest(held.clicks, excluded.clicks),
        last_clicked_at = greatest(held.last_clicked_at, excluded.last_clicked_at)
    """
).bindparams(
    bindparam("slots", type_=ARRAY(SmallInteger)),
    bindparam("links", type_=ARRAY(BigInteger)),
    bindparam("clicks", type_=ARRAY(BigInteger)),
    bindparam("moments", type_=ARRAY(DateTime(timezone=True))),
)
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_links(session: WriteSession, rows: Sequence[Mapping[str, Any]]) -> set[int]:
    """Make links, with their tags and totals of clicks, of those rows whose slug, and id, are free;
    the ids of the links that came to be."""
    if not rows:
        return set()
    session.execute(_ARRIVING)
    driver = session.connection().connection
    with closing(driver.cursor()) as cursor:
        cursor.copy_expert(_COPY, io.StringIO("".join(map(_line, rows))), _COPY_CHUNK)
    return set(session.scalars(_INSERT))


def raise_totals(session: WriteSession, rows: Iterable[Mapping[str, Any]]) -> None:
    """Let links have been clicked at least as often, and as lately, as rows say: what was counted
    here meanwhile is not taken away."""
    counted = [row for row in rows if row["clicks"]]
    if counted:
        session.execute(
            _RAISE,
            {
                "slots": [row["slot"] for row in counted],
                "links": [row["id"] for row in counted],
                "clicks": [row["clicks"] for row in counted],
                "moments": [row["last_clicked_at"] or row["updated_at"] for row in counted],
            },
        )


def _line(row: Mapping[str, Any]) -> str:
    """A row in the text format of COPY."""
    values = dict(row)
    values["metadata"] = orjson.dumps(row["custom"]).decode() if row["custom"] else "{}"
    values["tags"] = _array(row["tags"])
    return "\t".join([_cell(values[name]) for name in _COPIED]) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if value is True or value is False:
        return "t" if value else "f"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _array(values: Sequence[str]) -> str:
    """A list of texts as PostgreSQL writes it."""
    if not values:
        return "{}"
    quoted = [it.replace("\\", "\\\\").replace('"', '\\"') for it in values]
    return '{"' + '","'.join(quoted) + '"}'
