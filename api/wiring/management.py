"""The management side: links, statistics, people, and the description of all of it."""

from __future__ import annotations

from datetime import timedelta

from api.audit import routes as audit_routes
from api.audit.service import AuditLog
from api.clicks import routes as clicks_routes
from api.clicks.erasure import ClickEraser
from api.clicks.service import ClickService
from api.core.auditing import request_facts
from api.core.cache import AnswerCache
from api.core.idempotency import IdempotencyKeys
from api.domains import routes as domains_routes
from api.identity import member_routes, user_routes
from api.identity import routes as identity_routes
from api.jobs.queue import JobQueue
from api.limits import routes as limits_routes
from api.limits.limiter import PlanLimiter
from api.limits.plans import WorkspacePlans
from api.limits.service import LimitService
from api.links import routes as links_routes
from api.links.schemas import Presenter
from api.links.service import LinkService
from api.links.titles import NO_TITLES, TitleWishes
from api.live import routes as live_routes
from api.live.hub import Limits, LiveHub
from api.live.listener import LiveListener
from api.live.service import LiveService
from api.oauth import endpoints, pages
from api.oauth import routes as oauth_routes
from api.oauth.verifier import by_form
from api.oauth.wiring import make_oauth
from api.operations import docs
from api.operations.openapi import make_api
from api.orphans import routes as orphans_routes
from api.orphans.service import OrphanService
from api.services import People, management_services
from api.stats import routes as stats_routes
from api.stats.cached import StatsCache
from api.stats.service import StatsService
from api.targets import routes as targets_routes
from api.targets.service import BlockedTargets
from api.transfers.archives import routes as archives_routes
from api.transfers.erasure import routes as erasure_routes
from api.transfers.erasure.certificate import Certificates
from api.transfers.erasure.service import ErasureService
from api.transfers.exports import routes as exports_routes
from api.transfers.imports import routes as imports_routes
from api.wiring.exports import add_exports
from api.wiring.imports import add_imports
from api.wiring.parts import Parts
from config.settings import SettingsError

API_PREFIX = "/api/v1"
_MODULES = (
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
    exports_routes,
    imports_routes,
    erasure_routes,
    archives_routes,
)


def add_management(parts: Parts) -> None:
    """Serve everything below `/api/v1`, OAuth and the documentation."""
    audit = _add_audit(parts)
    jobs = _add_jobs(parts)
    management = management_services(
        parts.settings,
        parts.db,
        parts.domains,
        parts.evictions,
        parts.blocked,
        audit,
        parts.limits,
        _titles(parts, jobs),
    )
    people = management.people
    parts.offer(people.identity, people.users, people.members, people.invitations)
    _add_links(parts, management.links)
    _add_live(parts, management.links)
    add_exports(parts, management.links, people.identity)
    add_imports(parts, jobs)
    _add_oauth(parts, people, audit)
    _add_limits(parts, management.plans)
    _add_routes(parts)


def _add_audit(parts: Parts) -> AuditLog:
    """Who did what; told of by each route that changes something."""
    audit = AuditLog(parts.db, parts.secret, request_facts)
    parts.offer(audit)
    parts.app.extensions["signpost.audit"] = audit.record
    parts.metrics.count("signpost_audit_events_lost", "Changes not told of.", lambda: audit.lost)
    return audit


def _add_links(parts: Parts, links: LinkService) -> None:
    """Links, and what is known of those who followed them."""
    settings, db = parts.settings, parts.db
    answers = AnswerCache(
        parts.app,
        settings.redis_url,
        settings.redis_timeout_seconds,
        local_entries=settings.stats_cache_local_entries,
    )
    stats_cache = StatsCache(answers, settings.stats_cache_seconds)
    parts.offer(
        links,
        Presenter(settings.public_url, settings.default_domain),
        IdempotencyKeys(db, timedelta(hours=settings.idempotency_hours)),
        ClickService(db, links, parts.secret),
        ClickEraser(db, links, StatsService.erase_link, stats_cache.evict_workspace),
        StatsService(db, links),
        OrphanService(db, parts.domains),
        BlockedTargets(db, parts.evictions, parts.blocked, parts.secret),
        stats_cache,
    )


def _add_jobs(parts: Parts) -> JobQueue | None:
    """What queues jobs, where there is a broker."""
    jobs = JobQueue.of(parts.settings)
    if jobs is not None:
        parts.runtime.on_start.append(jobs.start)
        parts.runtime.on_stop.append(jobs.stop)
    return jobs


def _titles(parts: Parts, jobs: JobQueue | None) -> TitleWishes:
    """Who has workers find titles for links that have none."""
    if not parts.settings.fetch_titles:
        return NO_TITLES
    if jobs is None:
        raise SettingsError("FETCH_TITLES: Needs REDIS_URL or AMQP_URL, and not a Redis Cluster.")
    from api.titles.service import TitleWishes as JobTitles  # noqa: PLC0415 - seldom used

    return JobTitles(jobs.fetch_titles)


def _add_live(parts: Parts, links: LinkService) -> None:
    """Streams of clicks, which end when the process is told to stop."""
    settings = parts.settings
    hub = LiveHub(
        Limits(
            streams=settings.live_streams,
            streams_per_workspace=settings.live_streams_per_workspace,
            buffered_events=settings.live_buffer_events,
            heartbeat_seconds=settings.live_heartbeat_seconds,
        )
    )
    parts.runtime.on_end_answers.append(hub.end)
    if settings.redis_url is not None:
        listener = LiveListener(settings.redis_url, settings.redis_timeout_seconds, hub)
        parts.runtime.on_end_answers.append(listener.stop)
    parts.offer(LiveService(links, hub, hears=settings.redis_url is not None))


def _add_oauth(parts: Parts, people: People, audit: AuditLog) -> None:
    """Tokens beside keys: who gives them out, and who calls with them."""
    oauth = make_oauth(
        parts.settings,
        parts.db,
        parts.evictions,
        users=people.users,
        members=people.members,
        audit=audit,
    )
    # Tokens tell no names.
    audit.names.ask("user", people.users.email_of)
    audit.names.ask("client", oauth.clients.name_of)
    parts.offer(*oauth.services())
    blocked = BlockedTargets(parts.db, parts.evictions, parts.blocked, parts.secret)
    parts.offer(
        ErasureService(parts.db, parts.evictions, oauth.revocations, blocked),
        Certificates(oauth.keys, parts.settings.public_url),
    )
    parts.app.extensions["signpost.authenticator"] = by_form(
        people.identity.authenticate, oauth.verifier, oauth.outside
    )
    parts.runtime.on_start.append(oauth.revocations.start)
    parts.runtime.on_stop.append(oauth.revocations.stop)
    parts.app.register_blueprint(endpoints.blueprint)
    parts.app.register_blueprint(pages.blueprint)


def _add_limits(parts: Parts, plans: WorkspacePlans) -> None:
    """What each workspace may use."""
    settings = parts.settings
    limiter = PlanLimiter(
        plans, settings.redis_url, settings.redis_timeout_seconds, parts.decisions
    )
    parts.app.extensions["signpost.limiter"] = limiter.check
    parts.offer(LimitService(parts.db, plans, limiter.look))


def _add_routes(parts: Parts) -> None:
    api = make_api(parts.app)
    for module in _MODULES:
        api.register_blueprint(module.blueprint, url_prefix=API_PREFIX)
    parts.app.extensions["signpost.openapi"] = api
    parts.app.register_blueprint(docs.blueprint)
