"""Wires the modules that `SIGNPOST_SERVICES` names into one Flask application."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from flask import Flask
from flask.json.provider import JSONProvider

from api.clicks.folder import SpoolFolder
from api.clicks.spool import Spool
from api.core.application import Application
from api.core.cors import register_cors
from api.core.database.capacity import check_capacity
from api.core.database.routing import Database
from api.core.decisions import LimitDecisions
from api.core.evictions import Evictions
from api.core.limits import AddressLimits
from api.core.metrics.requests import RedirectMeter, RequestMeter
from api.core.paths import IdConverter, SlugConverter
from api.core.problems import register_problems
from api.core.reports.requests import running_request
from api.core.reports.starting import make_reporter
from api.core.requests import register_request_hooks
from api.core.transport import Transport
from api.domains.service import DomainService
from api.operations import routes as operations_routes
from api.operations.health import HealthService
from api.operations.metrics import MetricsService
from api.operations.pools import PoolMetrics
from api.operations.replicas import ReplicaMetrics
from api.redirects.orphans import OrphanVisits
from api.runtime import Runtime
from api.targets.known import KnownRules
from api.wiring.parts import Parts
from api.wiring.status import add_status
from config.settings import Settings

if TYPE_CHECKING:
    from api.clicks.queue.shipper import Shipper


class OrjsonProvider(JSONProvider):
    """Flask's JSON through orjson."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        del kwargs
        return orjson.dumps(obj, option=orjson.OPT_UTC_Z).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        del kwargs
        return orjson.loads(s)


def create_app(settings: Settings) -> Flask:
    """The WSGI application; it connects to nothing until the first request or `start_worker`."""
    app = _make_flask(settings)
    parts = _make_parts(app, settings)
    app.register_blueprint(operations_routes.blueprint)
    # Each side is imported only where it is served.
    if "api" in settings.signpost_services:
        from api.wiring.management import add_management  # noqa: PLC0415

        add_management(parts)
    if "redirect" in settings.signpost_services:
        from api.wiring.redirects import add_redirects  # noqa: PLC0415

        add_redirects(parts)
    if settings.otel_exporter_otlp_endpoint:
        from api.wiring.tracing import add_tracing  # noqa: PLC0415

        add_tracing(parts)
    return app


def _make_flask(settings: Settings) -> Flask:
    app = Application("api", static_folder=None)
    app.json = OrjsonProvider(app)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = settings.max_body_bytes
    app.url_map.converters["id"] = IdConverter
    app.url_map.converters["slug"] = SlugConverter
    # Otherwise `//host` is redirected to, and a slug with `//` is another slug.
    app.url_map.merge_slashes = False
    return app


def _make_parts(app: Flask, settings: Settings) -> Parts:
    """What both sides stand on, with the hooks and services that every process has."""
    register_problems(app)
    transport = Transport(settings)
    meter = RequestMeter(RedirectMeter())
    note = meter.note if settings.measures else None
    register_request_hooks(app, transport, settings.log_redirect_sample, note)
    transport.register(app)
    register_cors(app, settings)
    db = Database(settings)
    evictions = Evictions(settings.redis_url, settings.redis_timeout_seconds)
    redirecting = "redirect" in settings.signpost_services
    shipper = _make_shipper(settings) if redirecting else None
    spool = _make_spool(settings, shipper)
    secret = settings.resolved_secret_key()
    domains = DomainService(db, evictions, secret, settings.default_domain)
    orphans = OrphanVisits(domains, spool, settings.spool_segment_seconds)
    runtime = Runtime(db, evictions, spool, orphans, shipper)
    app.extensions["signpost"] = runtime
    decisions = LimitDecisions()
    metrics = MetricsService(settings, meter, spool, shipper, decisions)
    _tell_metrics(settings, metrics, runtime)
    blocked = KnownRules(db, evictions)
    runtime.on_start.append(blocked.start)
    runtime.on_stop.append(blocked.stop)
    if reporter := make_reporter(settings, "web", running_request):
        runtime.on_start.insert(0, reporter.start)
        runtime.on_end.append(reporter.stop)
    parts = Parts(
        app=app,
        settings=settings,
        secret=secret,
        db=db,
        evictions=evictions,
        spool=spool,
        domains=domains,
        blocked=blocked,
        limits=AddressLimits.of(settings, decisions),
        decisions=decisions,
        metrics=metrics,
        transport=transport,
        runtime=runtime,
    )
    runtime.on_first_start.append(partial(check_capacity, db, settings))
    health = HealthService(settings, db, spool if redirecting else None, shipper)
    parts.offer(settings, domains, parts.limits, decisions, orphans, health, parts.metrics, blocked)
    add_status(parts, health)
    return parts


def _tell_metrics(settings: Settings, metrics: MetricsService, runtime: Runtime) -> None:
    """Have what this process counts told, where anybody may see it."""
    metrics.register(ReplicaMetrics(runtime.db))
    metrics.register(PoolMetrics(runtime.db.servers))
    if settings.measures:
        runtime.on_start.append(metrics.start)
        runtime.on_end.append(metrics.stop)


def _make_spool(settings: Settings, shipper: Shipper | None) -> Spool:
    kind = Spool
    if settings.otel_exporter_otlp_endpoint:
        from api.clicks.traced_spool import TracedSpool  # noqa: PLC0415

        kind = TracedSpool
    return kind(
        settings.spool_path,
        settings.spool_segment_bytes,
        settings.spool_segment_seconds,
        settings.spool_max_bytes,
        on_seal=shipper.wake if shipper else lambda: None,
    )


def _make_shipper(settings: Settings) -> Shipper | None:
    """What ships clicks to the broker, where there is one."""
    if settings.amqp_url is None:
        return None
    from api.clicks.queue.broker import Broker  # noqa: PLC0415
    from api.clicks.queue.shipper import Shipper  # noqa: PLC0415

    broker = Broker.of
    if settings.otel_exporter_otlp_endpoint:
        from api.clicks.queue.traced import TracedBroker  # noqa: PLC0415

        broker = TracedBroker.of
    return Shipper(SpoolFolder(settings.spool_path), broker(settings, settings.amqp_url))
