"""A click as it is stored and counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EnrichedClick(NamedTuple):
    """All that is known of one click; texts are empty where the click does not tell."""

    slot: int
    link_id: int
    at_ms: int  # milliseconds since the Unix epoch
    id: int
    workspace_id: int
    visitor: int  # 64 bits, signed
    bot: bool
    country: str
    referrer: str
    browser: str
    system: str
    device: str
    language: str
    utm_source: str
    utm_medium: str
    utm_campaign: str
    utm_term: str
    utm_content: str
    address: str | None  # truncated, and only where the setting asks for it

    @property
    def clicked_at(self) -> datetime:
        """When the click was answered."""
        return _EPOCH + timedelta(milliseconds=self.at_ms)
