"""From the records of a segment to clicks that can be stored and counted."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b

from api.clicks.enriched import EnrichedClick
from api.clicks.enrichment.addresses import block_address, block_of, packed_address
from api.clicks.enrichment.countries import Countries
from api.clicks.enrichment.origins import campaign, preferred_language, referrer_host
from api.clicks.enrichment.user_agents import AgentParser
from api.clicks.enrichment.visitors import VisitorHash
from api.clicks.records import FLAG_HEAD, FLAG_PREFETCH, Segment
from api.core.ids import slot_of_id

_DAY_MS = 86_400_000
_SKEW_MS = 5 * 60 * 1000
_EARLIEST_MS = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000)
_NOBODY = FLAG_HEAD | FLAG_PREFETCH
_MAX_ID = (1 << 63) - 1


class Enricher:
    """Enriches; one per process, as it holds compiled patterns, data and caches."""

    def __init__(self, secret_key: bytes, *, keep_address: bool = False) -> None:
        self._agents = AgentParser()
        self._countries = Countries()
        self._visitors = VisitorHash(secret_key)
        self._keep_address = keep_address
        self._place = lru_cache(20_000)(self._place_of)

    def enrich(self, segment: Segment) -> list[EnrichedClick]:
        """The clicks of a segment, in its order.

        An id is made of the segment's and the place within it: a click that is read twice gets
        the same one, and the primary key would refuse it even if nothing else did.
        """
        created_ms = _plausible(segment.created_ms, time.time_ns() // 1_000_000)
        latest_ms = created_ms + _SKEW_MS
        digest = blake2b(segment.id.encode("utf-8", "replace"), digest_size=8).digest()
        first_id = int.from_bytes(digest)
        parse, place_of, visitor = self._agents.parse, self._place, self._visitors.visitor
        make, clicks = EnrichedClick._make, []
        # One long expression: this runs for every click, and a call costs more than what it does.
        for place, record in enumerate(segment.records):
            at_ms, link_id, workspace_id, address, agent, referrer, accepted, query, flags = record
            if not _EARLIEST_MS <= at_ms <= latest_ms:
                at_ms = created_ms
            browser, system, device, bot = parse(agent)
            packed, country, kept = place_of(address)
            clicks.append(
                make(
                    (
                        slot_of_id(link_id),
                        link_id,
                        at_ms,
                        (first_id + place) & _MAX_ID,
                        workspace_id,
                        visitor(at_ms // _DAY_MS, packed, agent),
                        bot or flags & _NOBODY != 0,
                        country,
                        referrer_host(referrer),
                        browser,
                        system,
                        device,
                        preferred_language(accepted),
                        *campaign(query),
                        kept,
                    )
                )
            )
        return clicks

    def _place_of(self, text: str) -> tuple[bytes, str, str | None]:
        """What tells the address apart, its country, and what of it may be kept."""
        packed = packed_address(text)
        if packed is None:
            return text.encode("utf-8", "replace"), "", None
        block = block_of(packed)
        kept = block_address(block) if self._keep_address else None
        return packed, self._countries.country_of(block), kept


def _plausible(at_ms: int, reference_ms: int) -> int:
    """A moment that a wrong clock gave is replaced by the one that is known beside it."""
    return at_ms if _EARLIEST_MS <= at_ms <= reference_ms + _SKEW_MS else reference_ms
