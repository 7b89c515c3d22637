"""What loads imports in the worker."""

from __future__ import annotations

from collections.abc import Iterable

from api.core.database.routing import Database
from api.core.evictions import Evictions
from api.domains.service import DomainService
from api.jobs.queue import JobQueue
from api.links.arrivals import LinkArrivals
from api.links.service import EVICTION_PREFIX
from api.services import management_services
from api.targets.known import KnownRules
from api.transfers.imports.loading import ImportLoader
from config.settings import Settings


def make_loader(settings: Settings, db: Database, jobs: JobQueue) -> ImportLoader:
    """A loader that writes to `db`, whose statements may take a while."""
    evictions = Evictions(settings.redis_url, settings.redis_timeout_seconds)
    blocked = KnownRules(db, evictions)
    domains = DomainService(db, evictions, settings.resolved_secret_key(), settings.default_domain)
    services = management_services(settings, db, domains, evictions, blocked)

    def evict(slugs: Iterable[tuple[str, str]]) -> None:
        keys = [f"{EVICTION_PREFIX}{domain}/{slug}" for domain, slug in slugs]
        if keys:
            evictions.publish(keys)

    links = LinkArrivals(db, services.rules, services.identity, services.quota, evict)
    keep_seconds = settings.import_keep_days * 86_400
    return ImportLoader(db, links, blocked, jobs.load_import, keep_seconds)
