"""The hot path. Nothing of the management side is imported for it."""

from __future__ import annotations

from functools import partial

from api.clicks.recorder import ClickRecorder
from api.redirects import routes
from api.redirects.blocking import Blocking
from api.redirects.cache import TargetCache
from api.redirects.fast import FastPath
from api.redirects.lines import RedirectLines
from api.redirects.prepared import PreparedAnswers
from api.redirects.service import RedirectService
from api.redirects.shared import make_shared_targets
from api.redirects.warming import WarmStart
from api.wiring.parts import Parts


def add_redirects(parts: Parts) -> None:
    """Follow links."""
    settings, evictions = parts.settings, parts.evictions
    blocking = Blocking(parts.blocked)
    cache = TargetCache(
        entries=settings.redirect_cache_entries,
        size_bytes=settings.redirect_cache_bytes,
        synced_seconds=settings.redirect_cache_seconds,
        unsynced_seconds=settings.redirect_cache_unsynced_seconds,
        stale_seconds=settings.redirect_stale_seconds,
        judge=blocking.judge,
    )
    blocking.follow(cache)
    evictions.on_evict(cache.evict)
    evictions.on_sync(cache.set_synced)
    shared = make_shared_targets(settings, settings.redirect_redis_timeout_seconds)
    redirects = RedirectService(parts.db, cache, shared, parts.limits)
    parts.offer(redirects, ClickRecorder(parts.spool))
    prepared = PreparedAnswers(cache, settings.redirect_cache_entries, redirects.refresh_soon)
    # After the cache, so that what it puts late is evicted here, too.
    evictions.on_evict(prepared.evict)
    evictions.on_sync(lambda _: prepared.clear())
    cache.on_put(prepared.renewed)
    warm_start = WarmStart(
        parts.db,
        cache,
        entries=min(settings.redirect_warm_entries, settings.redirect_cache_entries),
        life_seconds=settings.redirect_cache_seconds,
        hears=settings.redis_url is not None,
    )
    parts.runtime.on_start.append(warm_start.start)
    parts.runtime.on_stop.append(warm_start.stop)
    parts.offer(prepared)
    if settings.redirect_fast_path:
        # Made in each worker: request ids of two must not be the same.
        parts.app.extensions["signpost.fast"] = partial(
            FastPath,
            prepared,
            parts.spool,
            parts.transport,
            RedirectLines(settings.log_redirect_sample),
            parts.metrics.redirects.note_turn if settings.measures else None,
        )
    parts.app.register_blueprint(routes.blueprint)
