"""Clicks and services that the tests of statistics share."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from api.clicks.enriched import EnrichedClick
from api.core.database.routing import Database
from api.core.errors import NotFound
from api.core.ids import new_id, slot_of_id
from api.links.places import LinkPlace
from api.stats.service import StatsQuery, StatsService

NOON = datetime(2026, 5, 6, 12, 0, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_numbers = itertools.count(1)


class OwnedLinks:
    """Stands for the links of workspaces: every id is a link but those of `missing`."""

    def __init__(self, *missing: int) -> None:
        self._missing = missing

    def require(self, workspace: int, identifier: int) -> None:
        if identifier in self._missing:
            raise NotFound("There is no such link.")


def new_link(slot: int = 7) -> int:
    """The id of a link that no other test counts clicks of."""
    return new_id(slot)


def new_workspace() -> int:
    """The id of a workspace that no other test counts clicks of."""
    return new_id(0)


def make_click(**fields: Any) -> EnrichedClick:
    """A click of a person of whom nothing is known, at noon."""
    link = fields.get("link_id", 0)
    known: dict[str, Any] = dict.fromkeys(EnrichedClick._fields, "")
    moment = fields.pop("clicked_at", NOON)
    at_ms = (moment - _EPOCH) // timedelta(milliseconds=1)
    known |= {"slot": slot_of_id(link), "link_id": link, "at_ms": at_ms, "id": next(_numbers)}
    known |= {"workspace_id": 1, "visitor": next(_numbers), "bot": False, "address": None}
    return EnrichedClick(**known | fields)


def stats_of(db: Database, now: datetime = NOON) -> StatsService:
    """The service, for tests of everything but who owns a link."""
    return StatsService(db, OwnedLinks(), lambda: now)  # type: ignore[arg-type]


def count(
    db: Database, clicks: list[EnrichedClick], places: Mapping[int, LinkPlace] | None = None
) -> None:
    """Count clicks in a transaction of their own."""
    with db.write(0) as session:
        StatsService.add(session, StatsService.fold(clicks, places or {}))


def whole_year(**fields: Any) -> StatsQuery:
    """A question about 2026."""
    times = {"start": datetime(2026, 1, 1, tzinfo=UTC), "end": datetime(2027, 1, 1, tzinfo=UTC)}
    return StatsQuery(**{"interval": "month"} | times | fields)
