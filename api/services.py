"""Wires the services of the management side, for the application and for scripts."""

from __future__ import annotations

from dataclasses import dataclass

from api.audit.service import AuditLog
from api.core.database.routing import Database
from api.core.evictions import Evictions
from api.core.limits import AddressLimits
from api.core.safe_url import TargetRules
from api.domains.service import DomainService
from api.identity.invitations import InvitationService
from api.identity.members import MemberService
from api.identity.service import IdentityService
from api.identity.users import UserService
from api.limits.plans import WorkspacePlans
from api.limits.service import LinkQuota
from api.links.drafts import LinkRules
from api.links.service import LinkService
from api.links.titles import NO_TITLES, TitleWishes
from api.targets.known import KnownRules
from config.settings import Settings


@dataclass(frozen=True, slots=True)
class People:
    """Who may do what."""

    identity: IdentityService
    users: UserService
    members: MemberService
    invitations: InvitationService


@dataclass(frozen=True, slots=True)
class ManagementServices:
    """What administration needs."""

    people: People
    plans: WorkspacePlans
    rules: LinkRules
    quota: LinkQuota
    links: LinkService

    @property
    def identity(self) -> IdentityService:
        """Workspaces and keys."""
        return self.people.identity


def people_services(
    settings: Settings,
    db: Database,
    audit: AuditLog,
    evictions: Evictions | None = None,
    limits: AddressLimits | None = None,
) -> People:
    """Wire the services of users, workspaces and keys; without `evictions` for a script."""
    secret = settings.resolved_secret_key()
    users = UserService(db, evictions, limits or AddressLimits.of(settings), audit)
    return People(
        IdentityService(db, secret, evictions),
        users,
        MemberService(db, evictions, secret),
        InvitationService(db, evictions, secret, users, audit),
    )


def management_services(
    settings: Settings,
    db: Database,
    domains: DomainService,
    evictions: Evictions,
    blocked: KnownRules,
    audit: AuditLog | None = None,
    limits: AddressLimits | None = None,
    titles: TitleWishes = NO_TITLES,
) -> ManagementServices:
    """Wire the services of the management side."""
    secret = settings.resolved_secret_key()
    people = people_services(settings, db, audit or AuditLog(db, secret), evictions, limits)
    targets = TargetRules(
        settings.allowed_url_schemes,
        settings.public_url,
        domains.is_short_domain,
        allow_private=settings.allow_private_targets,
    )
    rules = LinkRules(targets, blocked, domains, settings.slug_length, settings.multi_segment_slugs)
    plans = WorkspacePlans(
        people.identity, evictions, settings.plans_by_name, settings.default_plan
    )
    quota = LinkQuota(db, plans)
    links = LinkService(db, rules, people.identity, evictions, secret, quota, titles)
    return ManagementServices(people, plans, rules, quota, links)
