"""What is asked for when a link is created, and the row that it becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from api.core.errors import Invalid
from api.core.ids import new_id, slot_of, time_of_id
from api.core.passwords import hash_password
from api.core.safe_url import TargetRules, host_of
from api.core.slugs import check_custom_slug, generate_slug, normalise_slug
from api.domains.service import DomainService
from api.targets.known import KnownRules


class LinkDraft(Struct, frozen=True, kw_only=True):
    """A link to be, with fields that have passed the schema."""

    url: str
    slug: str | None = None
    domain: str | None = None
    title: str | None = None
    tags: Sequence[str] = ()
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    max_clicks: int | None = None
    password: str | None = None
    redirect_status: int = 302
    forward_query: bool = False
    state: str = "active"
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LinkRules:
    """What decides whether a draft may become a link."""

    targets: TargetRules
    blocked: KnownRules
    domains: DomainService
    slug_length: int
    multi_segment_slugs: bool
    # Whether a slug may be made up that has this slot.
    fits: Callable[[int], bool] = lambda slot: True  # noqa: ARG005

    def look_up_hosts(self, workspace: int, drafts: Sequence[LinkDraft]) -> None:
        """Ask about the hosts of many drafts at once, and not for each again."""
        if len(drafts) > 1:
            named = {draft.domain for draft in drafts if draft.domain is not None}
            self.domains.look_up(named, workspace)
            self.look_up_targets(draft.url for draft in drafts)

    def look_up_targets(self, urls: Iterable[str]) -> None:
        """The same of targets that links shall have."""
        hosts = set(filter(None, map(host_of, urls)))
        if len(hosts) > 1:
            self.domains.look_up(hosts)

    def row_of(
        self, workspace: int, draft: LinkDraft, *, looked_up: bool = False
    ) -> dict[str, Any]:
        """The same of a link that has its place: a slug, a slot and an id."""
        values = self.values_of(workspace, draft, looked_up=looked_up)
        return self.place(values, new_slug=draft.slug is None)

    def values_of(
        self, workspace: int, draft: LinkDraft, *, looked_up: bool = False
    ) -> dict[str, Any]:
        """The column values of a draft; `looked_up`: after `look_up_hosts` of several.

        Raises:
            Invalid: the target, the slug, the domain or the period is not allowed.
        """
        check_period(draft.starts_at, draft.expires_at)
        return {
            "workspace_id": workspace,
            "domain": self.domains.usable_by(workspace, draft.domain, looked_up=looked_up),
            "slug": self._custom_slug(draft.slug) if draft.slug is not None else "",
            "url": self.target_of(workspace, draft.url),
            "title": draft.title,
            "tags": unique(draft.tags),
            "starts_at": draft.starts_at,
            "expires_at": draft.expires_at,
            "max_clicks": draft.max_clicks,
            "password_hash": hash_password(draft.password) if draft.password else None,
            "redirect_status": draft.redirect_status,
            "forward_query": draft.forward_query,
            "enabled": draft.state == "active",
            "custom": draft.metadata,
        }

    def slot_of(self, draft: LinkDraft) -> int | None:
        """The slot of a link to be, None where its slug is yet to be made up."""
        if draft.slug is None:
            return None
        domains = self.domains
        domain = domains.spelling_of(draft.domain) if draft.domain else domains.default_domain
        return slot_of(domain, normalise_slug(draft.slug))

    def target_of(self, workspace: int, text: str, pointer: str = "/url") -> str:
        """Where a link of the workspace shall lead, as it is kept.

        Raises:
            Invalid: it is no address to which it may lead.
        """
        href = self.targets.normalise(text, pointer)
        self.blocked.check(workspace, href, pointer)
        return href

    def place(self, row: dict[str, Any], *, new_slug: bool) -> dict[str, Any]:
        """The row with an id of its own, and with another generated slug where one is wanted."""
        slug = generate_slug(self.slug_length) if new_slug else row["slug"]
        slot = slot_of(row["domain"], slug)
        while new_slug and not self.fits(slot):
            slug = generate_slug(self.slug_length)
            slot = slot_of(row["domain"], slug)
        identifier = new_id(slot)
        made = time_of_id(identifier)
        return row | {
            "slug": slug,
            "slot": slot,
            "id": identifier,
            "created_at": made,
            "updated_at": made,
        }

    def _custom_slug(self, slug: str) -> str:
        return check_custom_slug(slug, multi_segment=self.multi_segment_slugs)


def check_period(starts_at: datetime | None, expires_at: datetime | None) -> None:
    """Refuse a link that would end before it starts.

    Raises:
        Invalid: naming `expires_at`.
    """
    if starts_at is not None and expires_at is not None and expires_at <= starts_at:
        raise Invalid.field("/expires_at", "Must be later than starts_at.")


def unique(tags: Sequence[str]) -> list[str]:
    """The tags in their order, each once."""
    return list(dict.fromkeys(tags))
