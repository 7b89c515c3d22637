"""The rules of links."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from api.core.database.fanout import ask_each
from api.core.database.routing import Database
from api.core.database.sessions import AnyRow
from api.core.errors import Conflict, DomainError, Invalid, Unavailable
from api.core.evictions import Evictions
from api.core.ids import slot_of_id
from api.core.pagination import Cursors
from api.identity.service import IdentityService
from api.limits.service import LinkQuota
from api.links import finding, store
from api.links.changes import COLUMN, LinkChanges, Matches, no_such_link
from api.links.drafts import LinkDraft, LinkRules
from api.links.exported import LINK_FIELDS, clicked_links, stream_links
from api.links.filters import LinkFilter, words_of
from api.links.insertion import LinkInsertion
from api.links.places import find_places
from api.links.sorting import key_of, position_in, position_of
from api.links.titles import NO_TITLES, TitleWishes
from api.links.totals import add_clicks, erase_clicks

EVICTION_PREFIX = "link:"
# A generated slug is free at the first try but for one in a billion; five is for the id's sake.
_TRIES = 5
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


class SlugTaken(Conflict):
    """The slug is in use on its domain."""

    code = "slug-taken"
    title = "The slug is taken"


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
        self._quota = quota
        self._titles = titles
        self._changes = LinkChanges(db, rules, titles, self._evict)
        self._insertion = LinkInsertion(db, rules, identity, titles, self._evict)

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
        outcomes: dict[int, AnyRow | DomainError] = {}
        waiting: dict[int, dict[str, Any]] = {}
        try:
            self._rules.look_up_hosts(workspace, drafts)
            for index, draft in enumerate(drafts):
                try:
                    waiting[index] = self._rules.row_of(workspace, draft, looked_up=len(drafts) > 1)
                except Invalid as error:
                    outcomes[index] = error
            grant = self._quota.take(workspace, len(waiting))
            for index in list(waiting)[grant.links :]:
                outcomes[index] = self._quota.refusal(workspace)
                del waiting[index]
            for _ in range(_TRIES):
                for made in self._insertion.insert(waiting, drafts):
                    outcomes |= made
                refused = {index: row for index, row in waiting.items() if index not in outcomes}
                if not refused:
                    break
                waiting = self._insertion.second_try(workspace, drafts, refused)
                outcomes |= {index: _taken(refused[index]) for index in refused.keys() - waiting}
            failed = sum(isinstance(one, DomainError) for one in outcomes.values())
            self._quota.give_back(workspace, grant, len(outcomes) - failed)
        except Unavailable as error:
            # What was made before stays, and is told as made.
            outcomes = dict.fromkeys(range(len(drafts)), error) | outcomes
        outcomes = {index: _taken(row) for index, row in waiting.items()} | outcomes
        return [outcomes[index] for index in range(len(drafts))]

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
        outcome = self._changes.update(workspace, {identifier: patch}, matches)[identifier]
        if isinstance(outcome, DomainError):
            raise outcome
        return outcome

    def update_links(
        self, workspace: int, patches: Mapping[int, Mapping[str, Any]]
    ) -> dict[int, AnyRow | DomainError]:
        """The same of many links, each by its id, in a few statements per shard; for each the
        link, or its error."""
        return self._changes.update(workspace, patches)

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
        error = self._changes.delete(workspace, [identifier], matches)[identifier]
        if error is not None:
            raise error

    def delete_links(
        self, workspace: int, identifiers: Sequence[int]
    ) -> dict[int, DomainError | None]:
        """The same of many links, in a few statements per shard; for each None, or its error."""
        return self._changes.delete(workspace, identifiers)

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


def _taken(row: Mapping[str, Any]) -> SlugTaken:
    return SlugTaken(f"{row['domain']}/{row['slug']} is in use.")


def _found(link: AnyRow | None) -> AnyRow:
    if link is None:
        raise no_such_link()
    return link
