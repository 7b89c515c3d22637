"""Raw clicks for whoever counts them again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import select, text

from api.clicks.enriched import EnrichedClick
from api.clicks.models import ClickHorizon
from api.core.database.routing import ReadSession, WriteSession

_CLICKS_AT_ONCE = 50_000
_COLUMNS = ", ".join(
    "(extract(epoch FROM clicked_at) * 1000)::bigint" if name == "at_ms" else name
    for name in EnrichedClick._fields
)
_STREAM = text(
    f"SELECT {_COLUMNS} FROM clicks WHERE clicked_at >= :start AND clicked_at < :end"
    " ORDER BY slot, link_id, clicked_at"
)
_MONTHS = text(
    "SELECT relname, reltuples::bigint FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
    " WHERE inhparent = 'clicks'::regclass ORDER BY relname"
)


def stream_clicks(
    session: ReadSession, start: datetime, end: datetime
) -> Iterator[list[EnrichedClick]]:
    """All clicks of a shard from `start` up to `end`, in lists, in the order of their links."""
    result = session.connection().execute(
        _STREAM, {"start": start, "end": end}, execution_options={"yield_per": _CLICKS_AT_ONCE}
    )
    for rows in result.partitions():
        yield list(map(EnrichedClick._make, rows))


def lock_clicks(session: WriteSession) -> None:
    """Keep months of raw clicks from being dropped to the transaction's end.

    Takes no snapshot, so what the transaction sees is as of its first query after this.
    """
    session.execute(text("LOCK TABLE clicks IN ACCESS SHARE MODE"))


def find_horizons(session: ReadSession) -> dict[int, datetime]:
    """Since when the raw clicks of workspaces are complete; of all others they always are."""
    rows = session.execute(select(ClickHorizon.workspace_id, ClickHorizon.complete_from))
    horizons: dict[int, datetime] = {}
    for workspace, moment in rows:
        horizons[workspace] = max(moment, horizons.get(workspace, moment))
    return horizons


def find_months(session: ReadSession) -> dict[datetime, int]:
    """The months that a shard has a partition of raw clicks for, ascending, and about how many
    clicks are in each."""
    return {
        datetime.strptime(name, "clicks_y%Ym%m").replace(tzinfo=UTC): max(clicks, 0)
        for name, clicks in session.execute(_MONTHS)
    }
