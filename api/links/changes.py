"""How links change and go, many in one request: a few statements a shard, each link with its own
result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from api.core.database.sessions import AnyRow
from api.core.errors import DomainError, Invalid, NotFound, PreconditionFailed, Unavailable
from api.core.ids import slot_of_id
from api.core.passwords import hash_password
from api.links import store
from api.links.drafts import LinkRules, check_period, unique
from api.links.metadata import complaint, merge_patch
from api.links.titles import TitleWishes, wish
from api.links.transactions import Evict, Transactions

Matches = Callable[[AnyRow], bool]
Outcome = TypeVar("Outcome")

# Fields whose column has another name.
COLUMN = {"metadata": "custom"}


class LinkChanges:
    """Changes and deletes links of one workspace."""

    def __init__(
        self,
        db: Transactions,
        rules: LinkRules,
        titles: TitleWishes,
        evict: Evict,
    ) -> None:
        """`evict` is told of links that are not what they were."""
        self._db = db
        self._rules = rules
        self._titles = titles
        self._evict = evict

    def update(
        self,
        workspace: int,
        patches: Mapping[int, Mapping[str, Any]],
        matches: Matches = lambda link: True,  # noqa: ARG005
    ) -> dict[int, AnyRow | DomainError]:
        """Change links, each by the patch (JSON Merge Patch, RFC 7396) that its id stands for; by
        id the links as they are now, or why they were not changed."""
        outcomes: dict[int, AnyRow | DomainError] = {}
        changes: dict[int, dict[str, Any]] = {}
        self._rules.look_up_targets(patch["url"] for patch in patches.values() if "url" in patch)
        for identifier, patch in patches.items():
            try:
                changes[identifier] = self._values_of(workspace, patch)
            except Invalid as error:
                outcomes[identifier] = error

        def change(slot: int, here: Sequence[int]) -> dict[int, AnyRow | DomainError]:
            return self._update(workspace, slot, {each: changes[each] for each in here}, matches)

        return outcomes | self._each_shard(changes, change)

    def delete(
        self,
        workspace: int,
        identifiers: Iterable[int],
        matches: Matches = lambda link: True,  # noqa: ARG005
    ) -> dict[int, DomainError | None]:
        """Delete links; by id None, or why it was not deleted."""

        def remove(slot: int, here: Sequence[int]) -> dict[int, DomainError | None]:
            return self._delete(workspace, slot, here, matches)

        return self._each_shard(identifiers, remove)

    def _update(
        self,
        workspace: int,
        slot: int,
        changes: Mapping[int, dict[str, Any]],
        matches: Matches,
    ) -> dict[int, AnyRow | DomainError]:
        """The same of the links of one shard."""
        with self._db.write(slot, workspace) as session:
            outcomes = _locked(store.lock_links(session, workspace, changes), changes, matches)
            valued: dict[int, dict[str, Any]] = {}
            for identifier, link in outcomes.items():
                if isinstance(link, DomainError) or not changes[identifier]:
                    continue
                try:
                    valued[identifier] = settled(link, changes[identifier])
                except Invalid as error:
                    outcomes[identifier] = error
            changed = store.update_links(session, workspace, valued) if valued else []
            moved = [link for link in changed if "url" in valued[link.id]]
            wished = wish(self._titles, session, workspace, moved)
        outcomes |= {link.id: link for link in changed}
        self._evict(changed)
        self._titles.offer(wished)
        return outcomes

    def _delete(
        self, workspace: int, slot: int, identifiers: Sequence[int], matches: Matches
    ) -> dict[int, DomainError | None]:
        with self._db.write(slot, workspace) as session:
            locked = _locked(
                store.lock_links(session, workspace, identifiers), identifiers, matches
            )
            links = [link for link in locked.values() if not isinstance(link, DomainError)]
            if links:
                store.mark_deleted(session, workspace, [link.id for link in links])
        self._evict(links)
        return {key: it if isinstance(it, DomainError) else None for key, it in locked.items()}

    def _each_shard(
        self,
        identifiers: Iterable[int],
        perform: Callable[[int, Sequence[int]], dict[int, Outcome | DomainError]],
    ) -> dict[int, Outcome | DomainError]:
        """What `perform` makes of the links of each shard; one that is away stops no other."""
        outcomes: dict[int, Outcome | DomainError] = {}
        for slot, here in self._by_shard(identifiers):
            try:
                outcomes |= perform(slot, here)
            except Unavailable as error:
                outcomes |= dict.fromkeys(here, error)
        return outcomes

    def _by_shard(self, identifiers: Iterable[int]) -> Iterator[tuple[int, Sequence[int]]]:
        """Links that can be written in one transaction, and a slot of their shard."""
        left = list(identifiers)
        while left:
            first = slot_of_id(left[0])
            yield first, [it for it in left if self._db.same_shard(first, slot_of_id(it))]
            left = [it for it in left if not self._db.same_shard(first, slot_of_id(it))]

    def _values_of(self, workspace: int, patch: Mapping[str, Any]) -> dict[str, Any]:
        """The column values that a patch sets, but for those that depend on the link."""
        values = {COLUMN.get(name, name): value for name, value in patch.items()}
        if "url" in values:
            values["url"] = self._rules.target_of(workspace, values["url"])
        if "tags" in values:
            values["tags"] = unique(values["tags"] or ())
        if "state" in values:
            values["enabled"] = values.pop("state") == "active"
        if "password" in values:
            password = values.pop("password")
            values["password_hash"] = hash_password(password) if password else None
        return values


def settled(link: AnyRow, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` made complete from the link as it is.

    Raises:
        Invalid: with what is there they break a rule.
    """
    complete = dict(values)
    starts_at: datetime | None = values.get("starts_at", link.starts_at)
    check_period(starts_at, values.get("expires_at", link.expires_at))
    if "custom" in values:
        patch = values["custom"]
        complete["custom"] = {} if patch is None else merge_patch(link.custom, patch)
        if wrong := complaint(complete["custom"]):
            raise Invalid.field("/metadata", f"With what is there: {wrong}")
    if values.get("max_clicks") is not None and link.max_clicks is None:
        # Uses are only kept while there is a limit: begin with what was counted so far.
        complete["uses"] = link.clicks
    return complete


def _locked(
    found: Sequence[AnyRow], identifiers: Iterable[int], matches: Matches
) -> dict[int, AnyRow | DomainError]:
    links = {link.id: link for link in found}
    return {identifier: _judged(links.get(identifier), matches) for identifier in identifiers}


def _judged(link: AnyRow | None, matches: Matches) -> AnyRow | DomainError:
    if link is None:
        return no_such_link()
    if not matches(link):
        return PreconditionFailed("The link was changed since you read it.")
    return link


def no_such_link() -> NotFound:
    """The workspace has no such link; another one may."""
    return NotFound("There is no such link.")
