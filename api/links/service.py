"""The rules of links."""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row

from api.core.database.routing import Database, ReadSession, WriteSession
from api.core.errors import Conflict, DomainError, Invalid, NotFound, PreconditionFailed
from api.core.evictions import Evictions
from api.core.ids import first_id_at, slot_of_id
from api.core.pagination import Cursors
from api.core.passwords import hash_password
from api.identity.service import IdentityService
from api.links import store
from api.links.drafts import LinkDraft, LinkRules, check_period, unique
from api.links.totals import add_clicks

EVICTION_PREFIX = "link:"
# A generated slug is free at the first try but for one in a billion; five is for the id's sake.
_TRIES = 5
_MAX_CANDIDATES = 100
_MAX_WORDS = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

__all__ = ["LinkFilter", "LinkService", "SlugTaken", "add_clicks", "etag_of", "state_of"]


class SlugTaken(Conflict):
    """The slug is in use on its domain."""

    code = "slug-taken"
    title = "The slug is taken"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFilter:
    """Which links a list holds."""

    q: str | None = None
    tag: str | None = None
    domain: str | None = None
    state: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def state_of(link: Row[Any], now: datetime) -> str:
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


def etag_of(link: Row[Any]) -> str:
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
    ) -> None:
        self._db = db
        self._rules = rules
        self._identity = identity
        self._evictions = evictions
        self._cursors = Cursors(secret, "links")

    def create_link(
        self, workspace: int, draft: LinkDraft, *, find_existing: Mapping[str, Any] | None = None
    ) -> tuple[Row[Any], bool]:
        """A new link, and True; or an old one that is all that `find_existing` asks, and False.

        Raises:
            Invalid: a field breaks a rule.
            SlugTaken: the slug is in use, or was and may not be used again.
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
    ) -> list[Row[Any] | DomainError]:
        """New links, in one statement per shard; for each draft its link or its error."""
        outcomes: list[Row[Any] | DomainError | None] = [None] * len(drafts)
        waiting: dict[int, dict[str, Any]] = {}
        for index, draft in enumerate(drafts):
            try:
                waiting[index] = self._rules.row_of(workspace, draft)
            except DomainError as error:
                outcomes[index] = error
        for _ in range(_TRIES):
            if not waiting:
                break
            for index, row in self._insert(workspace, waiting).items():
                outcomes[index] = row
                del waiting[index]
            for index in list(waiting):
                generated = drafts[index].slug is None
                if not generated and not self._may_retry(workspace, waiting[index]):
                    taken = waiting.pop(index)
                    outcomes[index] = SlugTaken(f"{taken['domain']}/{taken['slug']} is in use.")
                else:
                    waiting[index] = self._rules.place(waiting[index], new_slug=generated)
        for index, row in waiting.items():
            outcomes[index] = SlugTaken(f"{row['domain']}/{row['slug']} is in use.")
        return [outcome for outcome in outcomes if outcome is not None]

    def get_link(self, workspace: int, identifier: int) -> Row[Any]:
        """One link.

        Raises:
            NotFound: the workspace has no such link.
        """
        slot = slot_of_id(identifier)
        with self._db.read(slot, workspace) as session:
            return _found(store.get_link(session, workspace, slot, identifier))

    def require(self, workspace: int, identifier: int) -> None:
        """Nothing, when the workspace has this link.

        Raises:
            NotFound: it has not.
        """
        slot = slot_of_id(identifier)
        with self._db.read(slot, workspace) as session:
            if not store.link_exists(session, workspace, slot, identifier):
                raise _no_such_link()

    def update_link(
        self,
        workspace: int,
        identifier: int,
        patch: Mapping[str, Any],
        matches: Callable[[Row[Any]], bool],
    ) -> Row[Any]:
        """Change the fields in `patch` (JSON Merge Patch, RFC 7396) of a link that `matches`.

        Raises:
            NotFound: the workspace has no such link.
            PreconditionFailed: the link does not match.
            Invalid: a field breaks a rule.
        """
        slot = slot_of_id(identifier)
        values = self._values_of(patch)
        with self._db.write(slot) as session:
            link = _found(store.get_link(session, workspace, slot, identifier, lock=True))
            if not matches(link):
                raise PreconditionFailed("The link was changed since you read it.")
            self._settle(session, slot, link, values)
            if values:
                store.update_link(session, workspace, slot, identifier, values)
            changed = _found(store.get_link(session, workspace, slot, identifier))
        self._evict([changed])
        return changed

    def delete_link(
        self, workspace: int, identifier: int, matches: Callable[[Row[Any]], bool]
    ) -> None:
        """Delete a link that `matches`; from then on its slug answers 410.

        Raises:
            NotFound: the workspace has no such link.
            PreconditionFailed: the link does not match.
        """
        slot = slot_of_id(identifier)
        with self._db.write(slot) as session:
            link = _found(store.get_link(session, workspace, slot, identifier, lock=True))
            if not matches(link):
                raise PreconditionFailed("The link was changed since you read it.")
            store.mark_deleted(session, workspace, slot, identifier)
        self._evict([link])

    def list_links(
        self,
        workspace: int,
        which: LinkFilter,
        *,
        fields: Sequence[str] = tuple(store.COLUMNS),
        sort: str = "-created_at",
        limit: int,
        cursor: str | None = None,
    ) -> tuple[list[Row[Any]], str | None]:
        """A page of links, and the cursor of the next; merged from all shards."""
        question = ("links", workspace, sort, *(getattr(which, name) for name in which.__slots__))
        after = _position(self._cursors.read(cursor, question)) if cursor else None
        words = _words(which.q)
        if which.q is not None and not words:
            return [], None
        pages = [
            self._page(shard, workspace, which, words, fields, sort, after, limit + 1)
            for shard in self._db.read_each()
        ]
        merged = heapq.merge(*pages, key=_key_of(sort), reverse=sort.startswith("-"))
        rows = list(itertools.islice(merged, limit + 1))
        page = rows[:limit]
        if len(rows) <= limit:
            return page, None
        return page, self._cursors.write(question, _position_of(sort, page[-1]))

    def _page(
        self,
        shard: AbstractContextManager[ReadSession],
        workspace: int,
        which: LinkFilter,
        words: Sequence[str],
        fields: Sequence[str],
        sort: str,
        after: tuple[Any, ...] | None,
        limit: int,
    ) -> Sequence[Row[Any]]:
        conditions = []
        if words:
            conditions.append(store.matches(workspace, words))
        if which.tag is not None:
            conditions.append(store.has_tag(workspace, which.tag))
        if which.domain is not None:
            conditions.append(store.Link.domain == which.domain)
        if which.state is not None:
            conditions.append(store.in_state(which.state, datetime.now(UTC)))
        if which.created_after is not None:
            conditions.append(store.Link.id >= first_id_at(which.created_after))
        if which.created_before is not None:
            conditions.append(store.Link.id < first_id_at(which.created_before))
        with shard as session:
            return store.find_links(
                session,
                workspace,
                columns=store.columns_of(fields),
                conditions=conditions,
                sort=sort,
                after=after,
                limit=limit,
            )

    def _insert(self, workspace: int, waiting: Mapping[int, dict[str, Any]]) -> dict[int, Row[Any]]:
        """Insert the rows whose slugs are free; those links by the index of their draft."""
        done: dict[int, Row[Any]] = {}
        rows = sorted(waiting.items(), key=lambda item: (item[1]["slot"], item[1]["id"]))
        while rows:
            first = rows[0][1]["slot"]
            here = [item for item in rows if self._db.same_shard(first, item[1]["slot"])]
            rows = [item for item in rows if item not in here]
            with self._db.write(first) as session:
                inserted = store.insert_links(session, [row for _, row in here])
                found = {
                    row.id: row for row in store.get_links(session, workspace, sorted(inserted))
                }
            done |= {index: found[row["id"]] for index, row in here if row["id"] in inserted}
        self._evict(done.values())
        return done

    def _may_retry(self, workspace: int, row: Mapping[str, Any]) -> bool:
        """Whether a refused custom slug can be had after all: it was only the id that was taken,
        or the slug is that of a deleted link and the workspace lets it be used again."""
        where = (row["slot"], row["domain"], row["slug"])
        with self._db.write(row["slot"]) as session:
            holder = store.get_holder(session, *where)
            if holder is None:
                return True
            if holder.deleted_at is None or holder.workspace_id != workspace:
                return False
            if not self._identity.get_workspace(workspace).reuse_deleted_slugs:
                return False
            store.delete_deleted(session, workspace, *where)
            return True

    def _find_existing(
        self, workspace: int, draft: LinkDraft, asked: Mapping[str, Any]
    ) -> Row[Any] | None:
        """The oldest active link that already is what was asked for, field by field."""
        wanted = self._rules.row_of(workspace, draft)
        if wanted["password_hash"] is not None:
            return None
        now = datetime.now(UTC)
        for shard in self._db.read_each():
            with shard as session:
                candidates = store.find_by_url(
                    session, workspace, wanted["domain"], wanted["url"], _MAX_CANDIDATES
                )
            for link in candidates:
                same = all(
                    getattr(link, _COLUMN.get(name, name)) == wanted[_COLUMN.get(name, name)]
                    for name in asked
                    if name not in ("state", "password")
                )
                if same and not link.has_password and state_of(link, now) == draft.state:
                    return link
        return None

    def _values_of(self, patch: Mapping[str, Any]) -> dict[str, Any]:
        """The column values that a patch sets, but for those that depend on the link."""
        values = {_COLUMN.get(name, name): value for name, value in patch.items()}
        if "url" in values:
            values["url"] = self._rules.targets.normalise(values["url"])
        if "tags" in values:
            values["tags"] = unique(values["tags"] or ())
        if "state" in values:
            values["enabled"] = values.pop("state") == "active"
        if "password" in values:
            password = values.pop("password")
            values["password_hash"] = hash_password(password) if password else None
        return values

    def _settle(
        self, session: WriteSession, slot: int, link: Row[Any], values: dict[str, Any]
    ) -> None:
        """Complete `values` from the link as it is."""
        check_period(
            values.get("starts_at", link.starts_at), values.get("expires_at", link.expires_at)
        )
        if "custom" in values:
            values["custom"] = merge_patch(link.custom, values["custom"] or {})
            if len(values["custom"]) > 50:
                raise Invalid.field("/metadata", "More than 50 names.")
        if values.get("max_clicks") is not None and link.max_clicks is None:
            # Uses are only kept while there is a limit: begin with what was counted so far.
            values["uses"] = store.get_clicks(session, slot, link.id)

    def _evict(self, links: Iterable[Row[Any]]) -> None:
        keys = [f"{EVICTION_PREFIX}{link.domain}/{link.slug}" for link in links]
        if keys:
            self._evictions.publish(keys)


# Fields whose column has another name.
_COLUMN = {"metadata": "custom"}


def merge_patch(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Merge Patch of an object (RFC 7396 section 2)."""
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            inner = merged.get(name)
            merged[name] = merge_patch(inner if isinstance(inner, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def _found(link: Row[Any] | None) -> Row[Any]:
    if link is None:
        raise _no_such_link()
    return link


def _no_such_link() -> NotFound:
    return NotFound("There is no such link.")


def _words(q: str | None) -> list[str]:
    return re.findall(r"[^\W_]+", q or "")[:_MAX_WORDS]


def _key_of(sort: str) -> Callable[[Row[Any]], tuple[Any, ...]]:
    if "updated_at" in sort:
        return lambda row: (row.updated_at, row.id)
    return lambda row: (row.id,)


def _position_of(sort: str, row: Row[Any]) -> list[int]:
    """The sort key as whole numbers: microseconds since 1970, and the id."""
    key = _key_of(sort)(row)
    return [(key[0] - _EPOCH) // timedelta(microseconds=1), key[1]] if len(key) == 2 else [key[0]]


def _position(numbers: Sequence[int]) -> tuple[Any, ...]:
    if len(numbers) == 2:
        return (_EPOCH + timedelta(microseconds=numbers[0]), numbers[1])
    return tuple(numbers)
