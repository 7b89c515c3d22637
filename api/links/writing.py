"""Who makes, changes and deletes links, many at once; where it is wanted, all of them or none."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from api.core.database.prepared import WriteOnce
from api.core.database.routing import Database
from api.core.database.sessions import AnyRow
from api.core.errors import DomainError, Unavailable
from api.core.ids import SLOTS
from api.identity.service import IdentityService
from api.links.changes import LinkChanges
from api.links.creation import LinkCreation
from api.links.drafts import LinkDraft, LinkRules
from api.links.insertion import LinkInsertion
from api.links.titles import NO_TITLES, TitleWishes
from api.links.transactions import Evict, Later, OneTransaction, Quota, TakenQuota, Transactions


class LinkWriter:
    """Makes, changes and deletes links of one workspace."""

    def __init__(
        self,
        db: Transactions,
        rules: LinkRules,
        identity: IdentityService,
        titles: TitleWishes,
        evict: Evict,
        quota: Quota,
        once: Callable[[int, int], WriteOnce] | None = None,
    ) -> None:
        """`evict` is told of links that are not what they were; `once` is as in `LinkInsertion`."""
        insertion = LinkInsertion(db, rules, identity, titles, evict, once)
        self._creation = LinkCreation(rules, insertion, quota)
        self.changes = LinkChanges(db, rules, titles, evict)

    def create_links(
        self, workspace: int, drafts: Sequence[LinkDraft]
    ) -> list[AnyRow | DomainError]:
        """New links, in one statement per shard; for each draft its link or its error."""
        return self._creation.create(workspace, drafts)

    def update_links(
        self, workspace: int, patches: Mapping[int, Mapping[str, Any]]
    ) -> dict[int, AnyRow | DomainError]:
        """Change links, each by the patch that its id stands for, in a few statements per shard;
        for each the link, or its error."""
        return self.changes.update(workspace, patches)

    def delete_links(
        self, workspace: int, identifiers: Sequence[int]
    ) -> dict[int, DomainError | None]:
        """Delete links, in a few statements per shard; for each None, or its error."""
        return self.changes.delete(workspace, identifiers)


class LinkWriters:
    """Gives who writes links: shard by shard, or in one transaction."""

    def __init__(
        self,
        db: Database,
        rules: LinkRules,
        identity: IdentityService,
        titles: TitleWishes,
        evict: Evict,
        quota: Quota,
    ) -> None:
        self._db = db
        self._rules = rules
        self._identity = identity
        self._titles = titles
        self._evict = evict
        self._quota = quota

    def apart(self) -> LinkWriter:
        """A writer whose links on several shards are so many transactions."""
        once = self._db.write_once if self._titles is NO_TITLES else None
        return LinkWriter(
            self._db, self._rules, self._identity, self._titles, self._evict, self._quota, once
        )

    @contextmanager
    def together(
        self, workspace: int, slot: int | None, drafts: Sequence[LinkDraft]
    ) -> Iterator[LinkWriter]:
        """A writer whose changes are one transaction: all of them are made when the context ends,
        and none when it ends by an exception.

        It writes to the shard of `slot`, any if None, where also the slugs that it makes up will
        be. `drafts` are all links that it shall make: what must be asked of the directory for them
        is asked before, as the transaction holds a connection.
        """
        self._rules.look_up_hosts(workspace, drafts)
        grant = self._quota.take(workspace, len(drafts))
        later = Later(self._titles)
        slot = secrets.randbelow(SLOTS) if slot is None else slot
        try:
            with self._db.write(slot, workspace) as session:
                one = OneTransaction(self._db, session, slot)
                rules = replace(self._rules, fits=one.reaches)
                quota = TakenQuota(self._quota, grant)
                yield LinkWriter(one, rules, self._identity, later, later.evict, quota)
        except Unavailable:
            # Whether it was committed is not known, so the links stay counted.
            raise
        except BaseException:
            self._quota.give_back(workspace, grant, 0)
            raise
        later.tell(self._evict)
