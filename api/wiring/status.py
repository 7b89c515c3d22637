"""The status page: each web process samples its host, those with the management side show it."""

from __future__ import annotations

from api.operations.health import HealthService
from api.operations.status import routes
from api.operations.status.access import StatusAccess
from api.operations.status.service import StatusService
from api.operations.status.serving import is_served, make_host_sampler, make_minutes
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
        sampler = make_host_sampler(settings, parts.spool, health.ready)
        parts.runtime.on_start.append(sampler.start)
        parts.runtime.on_stop.append(sampler.stop)
