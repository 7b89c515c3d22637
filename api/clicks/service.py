"""The rules of raw clicks, and what other modules may use of this one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from api.clicks import store
from api.clicks.enriched import EnrichedClick
from api.clicks.exported import (
    CLICK_FIELDS,
    FIELDS_OF_LINKS,
    ClickFilter,
    ClickPlace,
    stream_clicks_of,
)
from api.clicks.folder import SpoolFolder
from api.clicks.months import next_month
from api.clicks.raw import find_horizons, find_months, lock_clicks, stream_clicks
from api.clicks.recorder import ClickRecorder
from api.clicks.spool import Spool
from api.core.database.routing import Database
from api.core.database.sessions import AnyRow
from api.core.ids import slot_of_id
from api.core.pagination import Cursors
from api.links.service import LinkService

__all__ = [
    "CLICK_FIELDS",
    "FIELDS_OF_LINKS",
    "ClickFilter",
    "ClickPlace",
    "ClickRecorder",
    "ClickService",
    "EnrichedClick",
    "Spool",
    "SpoolFolder",
    "find_horizons",
    "find_months",
    "lock_clicks",
    "next_month",
    "stream_clicks",
    "stream_clicks_of",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class ClickService:
    """Reads the clicks of a workspace's links."""

    def __init__(self, db: Database, links: LinkService, secret: bytes) -> None:
        self._db = db
        self._links = links
        self._cursors = Cursors(secret, "clicks")

    def list_clicks(
        self, workspace: int, link_id: int, *, cursor: str | None, limit: int
    ) -> tuple[Sequence[AnyRow], str | None]:
        """A page of a link's clicks, newest first, and the cursor of the next page.

        Raises:
            NotFound: the workspace has no such link.
            InvalidCursor: the cursor is not of this list.
        """
        self._links.require(workspace, link_id)
        question = ("clicks", workspace, link_id)
        before = _position(self._cursors.read(cursor, question)) if cursor else None
        slot = slot_of_id(link_id)
        with self._db.read(slot, workspace) as session:
            rows = store.find_clicks(
                session, workspace, slot, link_id, before=before, limit=limit + 1
            )
        page = rows[:limit]
        if len(rows) <= limit:
            return page, None
        last = page[-1]
        since_epoch = (last.clicked_at - _EPOCH) // _MICROSECOND
        return page, self._cursors.write(question, (since_epoch, last.id))


def _position(values: Sequence[int]) -> tuple[datetime, int]:
    microseconds, identifier = values
    return _EPOCH + timedelta(microseconds=microseconds), identifier
