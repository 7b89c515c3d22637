"""Wires the modules that `SIGNPOST_SERVICES` names into one Flask application."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from flask import Flask
from flask.json.provider import JSONProvider

from api.clicks.folder import SpoolFolder
from api.clicks.recorder import ClickRecorder
from api.clicks.spool import Spool
from api.core.application import Application
from api.core.cors import register_cors
from api.core.database.routing import Database
from api.core.decisions import LimitDecisions
from api.core.evictions import Evictions
from api.core.limits import AddressLimits
from api.core.paths import IdConverter, SlugConverter
from api.core.problems import register_problems
from api.core.registry import register_service
from api.core.requests import register_request_hooks
from api.core.transport import Transport
from api.domains.service import DomainService
from api.operations import routes as operations_routes
from api.operations.health import HealthService
from api.operations.metrics import MetricsService
from api.redirects.orphans import OrphanVisits
from api.runtime import Runtime
from api.targets.known import KnownRules
from config.settings import Settings, SettingsError

if TYPE_CHECKING:
    from api.audit.service import AuditLog
    from api.clicks.queue.shipper import Shipper
    from api.links.service import LinkService
    from api.services import People
    from api.titles.service import TitleWishes

API_PREFIX = "/api/v1"


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
    app = Application("api", static_folder=None)
    app.json = OrjsonProvider(app)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = settings.max_body_bytes
    app.url_map.converters["id"] = IdConverter
    app.url_map.converters["slug"] = SlugConverter
    # Otherwise `//host` is redirected to, and a slug with `//` is another slug.
    app.url_map.merge_slashes = False
    register_problems(app)
    transport = Transport(settings)
    register_request_hooks(app, transport)
    transport.register(app)
    register_cors(app, settings)

    secret = settings.resolved_secret_key()
    db = Database(settings)
    evictions = Evictions(settings.redis_url, settings.redis_timeout_seconds)
    redirecting = "redirect" in settings.signpost_services
    shipper = _make_shipper(settings) if redirecting else None
    spool = Spool(
        settings.spool_path,
        settings.spool_segment_bytes,
        settings.spool_segment_seconds,
        settings.spool_max_bytes,
        on_seal=shipper.wake if shipper else lambda: None,
    )
    domains = DomainService(db, evictions, secret, settings.default_domain)
    decisions = LimitDecisions()
    limits = AddressLimits.of(settings, decisions)
    orphans = OrphanVisits(domains, spool, settings.spool_segment_seconds)
    app.extensions["signpost"] = Runtime(db, evictions, spool, orphans, shipper)
    for instance in (
        settings,
        domains,
        limits,
        decisions,
        orphans,
        HealthService(db, settings.redis_url, spool if redirecting else None, shipper),
        MetricsService(settings.metrics_token, spool, shipper, decisions),
    ):
        register_service(app, instance)
    blocked = KnownRules(db, evictions)
    register_service(app, blocked)
    runtime: Runtime = app.extensions["signpost"]
    runtime.on_start.append(blocked.start)
    runtime.on_stop.append(blocked.stop)
    app.register_blueprint(operations_routes.blueprint)
    if "api" in settings.signpost_services:
        _add_api(app, settings, db, evictions, domains, blocked, secret, limits)
    if redirecting:
        _add_redirects(app, settings, db, evictions, blocked, spool, limits, transport)
    return app


def _make_shipper(settings: Settings) -> Shipper | None:
    """What ships clicks to the broker, where there is one."""
    if settings.amqp_url is None:
        return None
    from api.clicks.queue.broker import Broker  # noqa: PLC0415
    from api.clicks.queue.shipper import Shipper  # noqa: PLC0415

    return Shipper(SpoolFolder(settings.spool_path), Broker.of(settings, settings.amqp_url))


def _make_titles(app: Flask, settings: Settings) -> TitleWishes:
    """Who has workers find titles for links that have none."""
    from api.jobs.application import make_celery  # noqa: PLC0415
    from api.jobs.queue import JobQueue  # noqa: PLC0415
    from api.titles.service import TitleWishes  # noqa: PLC0415

    celery = make_celery(settings)
    if celery is None:
        raise SettingsError("FETCH_TITLES: Needs REDIS_URL or AMQP_URL.")
    jobs = JobQueue(celery, None if settings.amqp_url else settings.redis_url)
    runtime: Runtime = app.extensions["signpost"]
    runtime.on_start.append(jobs.start)
    runtime.on_stop.append(jobs.stop)
    return TitleWishes(jobs.fetch_titles)


def _add_live(app: Flask, settings: Settings, links: LinkService) -> None:
    """Streams of clicks, which end when the process is told to stop."""
    from api.live.hub import Limits, LiveHub  # noqa: PLC0415
    from api.live.listener import LiveListener  # noqa: PLC0415
    from api.live.service import LiveService  # noqa: PLC0415

    hub = LiveHub(
        Limits(
            streams=settings.live_streams,
            streams_per_workspace=settings.live_streams_per_workspace,
            buffered_events=settings.live_buffer_events,
            heartbeat_seconds=settings.live_heartbeat_seconds,
        )
    )
    runtime: Runtime = app.extensions["signpost"]
    runtime.on_end_answers.append(hub.end)
    if settings.redis_url is not None:
        listener = LiveListener(settings.redis_url, settings.redis_timeout_seconds, hub)
        runtime.on_end_answers.append(listener.stop)
    register_service(app, LiveService(links, hub, hears=settings.redis_url is not None))


def _add_oauth(
    app: Flask,
    settings: Settings,
    db: Database,
    evictions: Evictions,
    people: People,
    audit: AuditLog,
) -> None:
    """Tokens beside keys: who gives them out, and who calls with them."""
    from api.oauth import endpoints, pages  # noqa: PLC0415
    from api.oauth.verifier import by_form  # noqa: PLC0415
    from api.oauth.wiring import make_oauth  # noqa: PLC0415

    oauth = make_oauth(
        settings, db, evictions, users=people.users, members=people.members, audit=audit
    )
    # Tokens tell no names.
    audit.names.ask("user", people.users.email_of)
    audit.names.ask("client", oauth.clients.name_of)
    for instance in oauth.services():
        register_service(app, instance)
    app.extensions["signpost.authenticator"] = by_form(
        people.identity.authenticate, oauth.verifier, oauth.outside
    )
    runtime: Runtime = app.extensions["signpost"]
    runtime.on_start.append(oauth.revocations.start)
    runtime.on_stop.append(oauth.revocations.stop)
    app.register_blueprint(endpoints.blueprint)
    app.register_blueprint(pages.blueprint)


def _add_redirects(
    app: Flask,
    settings: Settings,
    db: Database,
    evictions: Evictions,
    blocked: KnownRules,
    spool: Spool,
    limits: AddressLimits,
    transport: Transport,
) -> None:
    """The hot path: nothing of the management side is imported for it."""
    from api.redirects import routes  # noqa: PLC0415
    from api.redirects.blocking import Blocking  # noqa: PLC0415
    from api.redirects.cache import TargetCache  # noqa: PLC0415
    from api.redirects.fast import FastPath  # noqa: PLC0415
    from api.redirects.prepared import PreparedAnswers  # noqa: PLC0415
    from api.redirects.service import RedirectService  # noqa: PLC0415
    from api.redirects.shared import make_shared_targets  # noqa: PLC0415
    from api.redirects.warming import WarmStart  # noqa: PLC0415

    blocking = Blocking(blocked)
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
    redirects = RedirectService(db, cache, shared, limits)
    register_service(app, redirects)
    register_service(app, ClickRecorder(spool))
    prepared = PreparedAnswers(cache, settings.redirect_cache_entries, redirects.refresh_soon)
    # After the cache, so that what it puts late is evicted here, too.
    evictions.on_evict(prepared.evict)
    evictions.on_sync(lambda _: prepared.clear())
    cache.on_put(prepared.renewed)
    warm_start = WarmStart(
        db,
        cache,
        entries=min(settings.redirect_warm_entries, settings.redirect_cache_entries),
        life_seconds=settings.redirect_cache_seconds,
        hears=settings.redis_url is not None,
    )
    runtime: Runtime = app.extensions["signpost"]
    runtime.on_start.append(warm_start.start)
    runtime.on_stop.append(warm_start.stop)
    register_service(app, prepared)
    if settings.redirect_fast_path:
        # Made in each worker: request ids of two must not be the same.
        app.extensions["signpost.fast"] = partial(FastPath, prepared, spool, transport)
    app.register_blueprint(routes.blueprint)


def _add_api(
    app: Flask,
    settings: Settings,
    db: Database,
    evictions: Evictions,
    domains: DomainService,
    blocked: KnownRules,
    secret: bytes,
    limits: AddressLimits,
) -> None:
    """Management, statistics and their description."""
    from api.audit import routes as audit_routes  # noqa: PLC0415
    from api.audit.service import AuditLog  # noqa: PLC0415
    from api.clicks import routes as clicks_routes  # noqa: PLC0415
    from api.clicks.erasure import ClickEraser  # noqa: PLC0415
    from api.clicks.service import ClickService  # noqa: PLC0415
    from api.core.auditing import request_facts  # noqa: PLC0415
    from api.core.cache import AnswerCache  # noqa: PLC0415
    from api.core.idempotency import IdempotencyKeys  # noqa: PLC0415
    from api.domains import routes as domains_routes  # noqa: PLC0415
    from api.identity import member_routes, user_routes  # noqa: PLC0415
    from api.identity import routes as identity_routes  # noqa: PLC0415
    from api.limits import routes as limits_routes  # noqa: PLC0415
    from api.limits.limiter import PlanLimiter  # noqa: PLC0415
    from api.limits.service import LimitService  # noqa: PLC0415
    from api.links import routes as links_routes  # noqa: PLC0415
    from api.links.schemas import Presenter  # noqa: PLC0415
    from api.links.titles import NO_TITLES  # noqa: PLC0415
    from api.live import routes as live_routes  # noqa: PLC0415
    from api.oauth import routes as oauth_routes  # noqa: PLC0415
    from api.operations import docs  # noqa: PLC0415
    from api.operations.openapi import make_api  # noqa: PLC0415
    from api.orphans import routes as orphans_routes  # noqa: PLC0415
    from api.orphans.service import OrphanService  # noqa: PLC0415
    from api.services import management_services  # noqa: PLC0415
    from api.stats import routes as stats_routes  # noqa: PLC0415
    from api.stats.cached import StatsCache  # noqa: PLC0415
    from api.stats.service import StatsService  # noqa: PLC0415
    from api.targets import routes as targets_routes  # noqa: PLC0415
    from api.targets.service import BlockedTargets  # noqa: PLC0415

    answers = AnswerCache(
        app,
        settings.redis_url,
        settings.redis_timeout_seconds,
        local_entries=settings.stats_cache_local_entries,
    )
    stats_cache = StatsCache(answers, settings.stats_cache_seconds)
    audit = AuditLog(db, secret, request_facts)
    titles = _make_titles(app, settings) if settings.fetch_titles else NO_TITLES
    management = management_services(
        settings, db, domains, evictions, blocked, audit, limits, titles
    )
    links = management.links
    for instance in (
        audit,
        management.people.identity,
        management.people.users,
        management.people.members,
        management.people.invitations,
        links,
        Presenter(settings.public_url, settings.default_domain),
        IdempotencyKeys(db, timedelta(hours=settings.idempotency_hours)),
        ClickService(db, links, secret),
        ClickEraser(db, links, StatsService.erase_link, stats_cache.evict_workspace),
        StatsService(db, links),
        OrphanService(db, domains),
        BlockedTargets(db, evictions, blocked, secret),
        stats_cache,
    ):
        register_service(app, instance)
    _add_live(app, settings, links)
    app.extensions["signpost.audit"] = audit.record
    metrics: MetricsService = app.extensions["signpost.services"][MetricsService]
    metrics.count("signpost_audit_events_lost", "Changes not told of.", lambda: audit.lost)
    _add_oauth(app, settings, db, evictions, management.people, audit)
    decisions = app.extensions["signpost.services"][LimitDecisions]
    limiter = PlanLimiter(
        management.plans, settings.redis_url, settings.redis_timeout_seconds, decisions
    )
    app.extensions["signpost.limiter"] = limiter.check
    register_service(app, LimitService(db, management.plans, limiter.look))

    api = make_api(app)
    for module in (
        links_routes,
        stats_routes,
        orphans_routes,
        clicks_routes,
        live_routes,
        domains_routes,
        identity_routes,
        member_routes,
        user_routes,
        audit_routes,
        oauth_routes,
        targets_routes,
        limits_routes,
    ):
        api.register_blueprint(module.blueprint, url_prefix=API_PREFIX)
    app.extensions["signpost.openapi"] = api
    app.register_blueprint(docs.blueprint)
