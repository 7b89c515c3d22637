"""Clicks from the spool to statistics and live streams."""

from __future__ import annotations

from dataclasses import dataclass

from config.declaring import flag, integer, seconds


@dataclass(frozen=True, kw_only=True)
class ClickSettings:
    """Clicks from the spool to statistics and live streams."""

    spool_segment_bytes: int = integer(
        1_000_000, "Size at which a spool segment is sealed.", 1_000, 1_000_000
    )
    spool_segment_seconds: float = seconds(0.2, "Age at which a spool segment is sealed.")
    spool_max_bytes: int = integer(
        1 << 30,
        "Size of the click spool past which readiness fails and clicks are lost.",
        1_000_000,
    )
    ingest_statement_timeout_seconds: float = seconds(
        60.0, "The same for the click consumer, whose statements are large and nobody waits for."
    )
    ingest_batch_clicks: int = integer(
        50_000,
        "Clicks in one transaction of the consumer under load: more cost less each, and memory.",
        100,
        1_000_000,
    )
    click_retention_days: int = integer(
        0,
        "Days for which raw clicks are kept, where a workspace says nothing else; 0: for ever. "
        "Older ones are deleted for good; statistics stay.",
        0,
        36_500,
    )
    keep_visitor_address: bool = flag(
        False, "Keep the visitor's address, truncated to /24 or /48, with each raw click."
    )
    stats_cache_seconds: int = integer(
        5,
        "Life of cached statistics of a period that still goes on (those of older periods live a "
        "minute or an hour); 0: none are cached.",
        0,
        3600,
    )
    stats_cache_local_entries: int = integer(
        256, "Statistics that each process keeps while Redis is away.", 1
    )
    live_streams: int = integer(200, "Streams of live clicks in each process.", 1, 10_000)
    live_streams_per_workspace: int = integer(
        20, "The same for one workspace; more answers 429.", 1, 10_000
    )
    live_buffer_events: int = integer(
        256, "Clicks that wait for a slow reader of a live stream before it loses some.", 1, 10_000
    )
    live_heartbeat_seconds: float = seconds(
        15.0, "A live stream without a click is silent no longer than this."
    )
