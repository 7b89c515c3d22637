"""The status page: each web process samples its host, those with the management side show it."""

from __future__ import annotations

from api.operations.health import HealthService
from api.operations.status import routes
from api.operations.status.access import StatusAccess
from api.operations.status.service import StatusService
from api.operations.status.serving import is_served, make_host_sampler, make_minutes
from api.operations.status.watching import HostWatch, ProcessWatch
from api.wiring.parts import Parts


def add_status(parts: Parts, health: HealthService) -> None:
    """Sample, and show; where nobody may see it, neither costs anything."""
    settings = parts.settings
    if "api" in settings.signpost_services:
        parts.offer(StatusAccess(settings.status_page, settings.metrics_token, parts.limits))
        parts.offer(
            StatusService(
                health.ready,
                *make_minutes(settings),
                queued=settings.amqp_url is not None,
                kept_seconds=settings.status_sample_seconds / 2,
            )
        )
        parts.app.register_blueprint(routes.blueprint)
    if is_served(settings):
        watch = HostWatch(
            settings.load_path,
            parts.spool.state,
            parts.db.servers,
            health.ready,
            ProcessWatch(settings.signpost_home),
        )
        sampler = make_host_sampler(settings, watch)
        parts.runtime.on_start.append(sampler.start)
        parts.runtime.on_stop.append(sampler.stop)
