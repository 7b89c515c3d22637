"""Links, and what is kept of them on the way to a redirect."""

from __future__ import annotations

from dataclasses import dataclass

from config import kinds
from config.declaring import flag, integer, seconds, setting


@dataclass(frozen=True, kw_only=True)
class LinkSettings:
    """Links, and what is kept of them on the way to a redirect."""

    strict_hosts: bool = flag(
        False, "Answer 404 for a `Host` that no domain claims, instead of the default domain."
    )
    allowed_url_schemes: tuple[str, ...] = setting(
        ("http", "https"),
        kinds.comma_list,
        "Schemes that a link may point to. `javascript`, `data` and the like are never allowed.",
    )
    allow_private_targets: bool = flag(
        True,
        "Let links lead to private and loopback addresses and to names of one's own network, as "
        "on an intranet; off where strangers make links.",
    )
    multi_segment_slugs: bool = flag(False, "Allow `/` inside custom slugs.")
    slug_length: int = integer(7, "Characters of a generated slug.", 4, 32)
    redirect_cache_entries: int = integer(100_000, "Links kept in each process.", 1)
    redirect_cache_bytes: int = integer(
        1 << 27, "About how much memory these may take in each process.", 1_000_000
    )
    redirect_cache_seconds: float = seconds(
        60.0, "Life of a cached link while invalidations arrive through Redis."
    )
    redirect_cache_unsynced_seconds: float = seconds(
        1.0, "Life of a cached link while Redis is away."
    )
    redirect_fast_path: bool = flag(
        True, "Answer known plain links before the request is parsed; off only to compare."
    )
    redirect_stale_seconds: float = seconds(
        86_400.0, "How long past its life a cached link still redirects while PostgreSQL is away."
    )
    redirect_warm_entries: int = integer(
        10_000,
        "Of the most clicked links, how many each process loads in the background when it starts; "
        "0: none.",
    )
    redirect_shared_seconds: float = setting(
        300.0,
        kinds.seconds(zero=True),
        "Life of a link in Redis, where all processes find it; 0: none are kept there.",
    )
    redirect_shared_stale_seconds: float = seconds(
        3_600.0,
        "How long past its life Redis keeps a link, for processes that do not know it while "
        "PostgreSQL is away.",
    )
    redirect_redis_timeout_seconds: float = seconds(
        0.1, "Longest wait for Redis on the way to a redirect; then PostgreSQL is asked."
    )
    fetch_titles: bool = flag(
        False,
        "Have workers (`scripts/run-jobs`) fetch the title of the page to which a link without one "
        "leads. Needs Redis or RabbitMQ.",
    )
    fetch_seconds: float = seconds(10.0, "Longest time to fetch one page, its redirects included.")
    idempotency_hours: float = seconds(24.0, "How long an `Idempotency-Key` is remembered.")
