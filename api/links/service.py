"""The rules of links."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from api.core.database.fanout import ask_each
from api.core.database.routing import Database
from api.core.database.sessions import AnyRow
from api.core.errors import DomainError
from api.core.evictions import Evictions
from api.core.ids import slot_of_id
from api.core.pagination import Cursors
from api.identity.service import IdentityService
from api.limits.service import LinkQuota
from api.links import finding, store
from api.links.changes import COLUMN, Matches, no_such_link
from api.links.creation import SlugTaken
from api.links.drafts import LinkDraft, LinkRules
from api.links.exported import LINK_FIELDS, clicked_links, stream_links
from api.links.filters import LinkFilter, words_of
from api.links.places import find_places
from api.links.sorting import key_of, position_in, position_of
from api.links.titles import NO_TITLES, TitleWishes
from api.links.totals import add_clicks, erase_clicks
from api.links.writing import LinkWriter, LinkWriters

EVICTION_PREFIX = "link:"
_MAX_CANDIDATES = 100

__all__ = [
    "LINK_FIELDS",
    "LinkFilter",
    "LinkService",
    "SlugTaken",
    "add_clicks",
    "clicked_links",
    "erase_clicks",
    "etag_of",
    "find_places",
    "state_of",
    "stream_links",
]


def state_of(link: AnyRow, now: datetime) -> str:
    """active, disabled, scheduled, expired or exhausted; the first that holds."""
    if not link.enabled:
        return "disabled"
    if link.starts_at is not None and link.starts_at > now:
        return "scheduled"
    if link.expires_at is not None and link.expires_at <= now:
        return "expired"
    if link.max_clicks is not None and link.uses >= link.max_clicks:
        return "exhausted"
    return "active"


def etag_of(link: AnyRow) -> str:
    """The entity tag: version, then what changes without an edit.

    `If-Match` looks at the version alone: a click in between must not refuse an edit.
    """
    return f"{link.version}.{link.clicks}.{state_of(link, datetime.now(UTC))}"


class LinkService:
    """Creates, finds, changes and deletes links."""

    def __init__(
        self,
        db: Database,
        rules: LinkRules,
        identity: IdentityService,
        evictions: Evictions,
        secret: bytes,
        quota: LinkQuota,
        titles: TitleWishes = NO_TITLES,
    ) -> None:
        """`titles` is who finds some for links that have none."""
        self._db = db
        self._rules = rules
        self._evictions = evictions
        self._cursors = Cursors(secret, "links")
        self._writers = LinkWriters(db, rules, identity, titles, self._evict, quota)
        self.writer = self._writers.apart()

    def create_link(
        self, workspace: int, draft: LinkDraft, *, find_existing: Mapping[str, Any] | None = None
    ) -> tuple[AnyRow, bool]:
        """A new link, and True; or an old one that is all that `find_existing` asks, and False.

        Raises:
            Invalid: a field breaks a rule.
            SlugTaken: the slug is in use, or was and may not be used again.
            QuotaExceeded: the workspace has made all links that its plan allows this month.
        """
        if find_existing is not None:
            found = self._find_existing(workspace, draft, find_existing)
            if found is not None:
                return found, False
        (outcome,) = self.create_links(workspace, [draft])
        if isinstance(outcome, DomainError):
            raise outcome
        return outcome, True

    def create_links(
        self, workspace: int, drafts: Sequence[LinkDraft]
    ) -> list[AnyRow | DomainError]:
        """New links, in one statement per shard; for each draft its link or its error."""
        return self.writer.create_links(workspace, drafts)

    def get_link(self, workspace: int, identifier: int) -> AnyRow:
        """One link.

        Raises:
            NotFound: the workspace has no such link.
        """
        slot = slot_of_id(identifier)
        with self._db.read_once(slot, workspace) as connection:
            return _found(store.ask_link(connection, workspace, slot, identifier))

    def require(self, workspace: int, identifier: int, *, deleted: bool = False) -> None:
        """Nothing, when the workspace has this link; with `deleted` also when it had.

        Raises:
            NotFound: it has not.
        """
        slot = slot_of_id(identifier)
        with self._db.read(slot, workspace) as session:
            if not store.link_exists(session, workspace, slot, identifier, deleted=deleted):
                raise no_such_link()

    def update_link(
        self, workspace: int, identifier: int, patch: Mapping[str, Any], matches: Matches
    ) -> AnyRow:
        """Change the fields in `patch` (JSON Merge Patch, RFC 7396) of a link that `matches`.

        Raises:
            NotFound: the workspace has no such link.
            PreconditionFailed: the link does not match.
            Invalid: a field breaks a rule.
        """
        outcome = self.writer.changes.update(workspace, {identifier: patch}, matches)[identifier]
        if isinstance(outcome, DomainError):
            raise outcome
        return outcome

    def set_title(self, workspace: int, identifier: int, url: str, title: str) -> bool:
        """Give a link its target's title, if it leads to `url` and nobody gave it one meanwhile."""
        slot = slot_of_id(identifier)
        with self._db.write(slot, workspace) as session:
            return store.set_title(session, workspace, slot, identifier, url, title)

    def delete_link(self, workspace: int, identifier: int, matches: Matches) -> None:
        """Delete a link that `matches`; from then on its slug answers 410.

        Raises:
            NotFound: the workspace has no such link.
            PreconditionFailed: the link does not match.
        """
        error = self.writer.changes.delete(workspace, [identifier], matches)[identifier]
        if error is not None:
            raise error

    def together(
        self, workspace: int, slot: int | None, drafts: Sequence[LinkDraft]
    ) -> AbstractContextManager[LinkWriter]:
        """A writer whose changes are all made at the end of the context, or none of them; see
        `LinkWriters`."""
        return self._writers.together(workspace, slot, drafts)

    def slot_of_draft(self, draft: LinkDraft) -> int | None:
        """The slot of a link to be, None where its slug is yet to be made up."""
        return self._rules.slot_of(draft)

    def same_database(self, one: int, other: int) -> bool:
        """Whether links of two slots can be changed in one transaction."""
        owners = self._db.slots().owners
        return owners[one] == owners[other]

    def list_links(
        self,
        workspace: int,
        which: LinkFilter,
        *,
        fields: tuple[str, ...] = tuple(store.COLUMNS),
        sort: str = "-created_at",
        limit: int,
        cursor: str | None = None,
    ) -> tuple[list[AnyRow], str | None]:
        """A page of links, and the cursor of the next; merged from all shards."""
        if which.domain is not None:
            which = replace(which, domain=self._rules.domains.spelling_of(which.domain))
        question = ("links", workspace, sort, *which.asked())
        after = position_in(self._cursors.read(cursor, question)) if cursor else None
        if which.q is not None and not words_of(which.q):
            return [], None
        pages = self._pages(workspace, which, fields, sort, after, limit + 1)
        rows = pages[0]
        if len(pages) > 1:
            merged = heapq.merge(*pages, key=key_of(sort), reverse=sort.startswith("-"))
            rows = list(itertools.islice(merged, limit + 1))
        page = list(rows[:limit])
        if len(rows) <= limit:
            return page, None
        return page, self._cursors.write(question, position_of(sort, page[-1]))

    def _pages(
        self,
        workspace: int,
        which: LinkFilter,
        fields: tuple[str, ...],
        sort: str,
        after: tuple[Any, ...] | None,
        limit: int,
    ) -> Sequence[Sequence[AnyRow]]:
        """The page of each shard."""
        narrowed = which.narrows()
        slots = self._db.slots()

        def page_of(shard: str) -> Sequence[AnyRow]:
            plain = self._db.read_shard_once(shard, workspace, slots)
            if not narrowed and not plain.foreign:
                with plain as one:
                    return finding.ask_links(
                        one, workspace, fields=fields, sort=sort, after=after, limit=limit
                    )
            with self._db.read_shard(shard, workspace, slots=slots) as session:
                return finding.find_links(
                    session,
                    workspace,
                    which,
                    fields=fields,
                    sort=sort,
                    after=after,
                    limit=limit,
                )

        return ask_each(slots.shards, page_of)

    def _find_existing(
        self, workspace: int, draft: LinkDraft, asked: Mapping[str, Any]
    ) -> AnyRow | None:
        """The oldest active link that already is what was asked for, field by field."""
        if draft.password is not None:
            return None
        wanted = self._rules.row_of(workspace, draft)
        now = datetime.now(UTC)
        for shard in self._db.read_each(workspace):
            with shard as session:
                candidates = store.find_by_url(
                    session, workspace, wanted["domain"], wanted["url"], _MAX_CANDIDATES
                )
            for link in candidates:
                same = all(
                    getattr(link, COLUMN.get(name, name)) == wanted[COLUMN.get(name, name)]
                    for name in asked
                    if name not in ("state", "password")
                )
                if same and not link.has_password and state_of(link, now) == draft.state:
                    return link
        return None

    def _evict(self, links: Iterable[AnyRow]) -> None:
        keys = [f"{EVICTION_PREFIX}{link.domain}/{link.slug}" for link in links]
        if keys:
            self._evictions.publish(keys)


def _found(link: AnyRow | None) -> AnyRow:
    if link is None:
        raise no_such_link()
    return link
