"""Each link's total of clicks, added to by the ingest within its own transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import ARRAY, BigInteger, DateTime, SmallInteger, bindparam, delete, text

from api.core.database.routing import WriteSession
from api.links.models import LinkTotal

# Sorted, so that two writers lock the rows in the same order.
_ADD = text(
    """
    INSERT INTO link_totals AS held (slot, link_id, clicks, last_clicked_at)
    SELECT * FROM unnest(:slots, :links, :clicks, :moments) AS new (slot, link, clicks, moment)
    ORDER BY new.slot, new.link
    ON CONFLICT (slot, link_id) DO UPDATE SET
        clicks = held.clicks + excluded.clicks,
        last_clicked_at = greatest(held.last_clicked_at, excluded.last_clicked_at)
    """
).bindparams(
    bindparam("slots", type_=ARRAY(SmallInteger)),
    bindparam("links", type_=ARRAY(BigInteger)),
    bindparam("clicks", type_=ARRAY(BigInteger)),
    bindparam("moments", type_=ARRAY(DateTime(timezone=True))),
)


def add_clicks(
    session: WriteSession, totals: Mapping[tuple[int, int], tuple[int, datetime]]
) -> None:
    """Add to the totals of one shard: `{(slot, link id): (clicks, moment of the last one)}`."""
    if not totals:
        return
    keys = sorted(totals)
    session.execute(
        _ADD,
        {
            "slots": [slot for slot, _ in keys],
            "links": [link for _, link in keys],
            "clicks": [totals[key][0] for key in keys],
            "moments": [totals[key][1] for key in keys],
        },
    )


def erase_clicks(session: WriteSession, slot: int, link_id: int) -> None:
    """Begin the total of a link anew, at none. How often it was used, of `max_clicks`, stays."""
    session.execute(delete(LinkTotal).where(LinkTotal.slot == slot, LinkTotal.link_id == link_id))
