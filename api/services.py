"""Wires the services of the management side, for the application and for scripts."""

from __future__ import annotations

from dataclasses import dataclass

from api.core.database.routing import Database
from api.core.evictions import Evictions
from api.core.safe_url import TargetRules
from api.domains.service import DomainService
from api.identity.service import IdentityService
from api.links.drafts import LinkRules
from api.links.service import LinkService
from config.settings import Settings


@dataclass(frozen=True, slots=True)
class ManagementServices:
    """What administration needs."""

    identity: IdentityService
    links: LinkService


def management_services(
    settings: Settings, db: Database, domains: DomainService, evictions: Evictions
) -> ManagementServices:
    """Wire the services of the management side."""
    secret = settings.resolved_secret_key()
    identity = IdentityService(db, secret, evictions)
    targets = TargetRules(
        settings.allowed_url_schemes, settings.public_url, domains.is_short_domain
    )
    rules = LinkRules(targets, domains, settings.slug_length, settings.multi_segment_slugs)
    return ManagementServices(identity, LinkService(db, rules, identity, evictions, secret))
