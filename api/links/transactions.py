"""In which transactions links are written: one a shard, or one for all that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from typing import Protocol, TypeAlias

from api.core.database.routing import Database, WriteSession
from api.core.database.sessions import AnyRow
from api.core.errors import DomainError, Unavailable
from api.limits.service import Grant
from api.links.titles import TitleWishes

# Told of links that are not what they were.
Evict: TypeAlias = Callable[[Iterable[AnyRow]], None]


class Transactions(Protocol):
    """Opens transactions; see `Database`."""

    def write(
        self, slot: int, workspace: int | None = None
    ) -> AbstractContextManager[WriteSession]:
        """Write to the shard that owns `slot`."""

    def same_shard(self, one: int, other: int) -> bool:
        """Whether two slots can be written in one transaction."""


class Quota(Protocol):
    """How many links may be made; see `LinkQuota`."""

    def take(self, workspace: int, links: int) -> Grant:
        """As many of `links` as may be made, which are counted then."""

    def give_back(self, workspace: int, grant: Grant, made: int) -> None:
        """Of what was granted only `made` links came to be."""

    def refusal(self, workspace: int) -> DomainError:
        """What is told about a link that was not granted."""


class OneTransaction:
    """Gives the same transaction to all who open one; whoever began it ends it."""

    def __init__(self, db: Database, session: WriteSession, slot: int) -> None:
        """`session` writes to the shard of `slot`."""
        self._session = session
        self._owners = db.slots().owners
        self._shard = self._owners[slot]

    def write(
        self,
        slot: int,
        workspace: int | None = None,  # noqa: ARG002
    ) -> AbstractContextManager[WriteSession]:
        """The transaction, neither committed nor rolled back at the end of the context.

        Raises:
            Unavailable: the slot is on another shard, where it has just been moved to.
        """
        if not self.reaches(slot):
            raise Unavailable("The link is being moved to another database.")
        return nullcontext(self._session)

    def same_shard(self, one: int, other: int) -> bool:
        """Whether two slots can be written in one transaction."""
        return self._owners[one] == self._owners[other]

    def reaches(self, slot: int) -> bool:
        """Whether the transaction can write what is of this slot."""
        return self._owners[slot] == self._shard


class TakenQuota:
    """Hands out what was granted for all links of a transaction before it began.

    Nothing is given back on the way: either all of them come to be, or none.
    """

    def __init__(self, quota: Quota, grant: Grant) -> None:
        self._quota = quota
        self._left = grant.links
        self._month: date | None = grant.month

    def take(self, workspace: int, links: int) -> Grant:  # noqa: ARG002
        """As many of `links` as are left of the grant."""
        granted = min(links, self._left)
        self._left -= granted
        return Grant(granted, self._month)

    def give_back(self, workspace: int, grant: Grant, made: int) -> None:
        """The whole is given back by who took it, when nothing is made."""

    def refusal(self, workspace: int) -> DomainError:
        """What is told about a link that was not granted."""
        return self._quota.refusal(workspace)


class Later:
    """Stands for who is told of links at once, while a transaction is open that may come to
    nothing: of those that changed, and of those that want a title."""

    def __init__(self, titles: TitleWishes) -> None:
        self._titles = titles
        self._changed: list[AnyRow] = []
        self._untitled: list[int] = []

    def evict(self, links: Iterable[AnyRow]) -> None:
        """Keep links that are not what they were."""
        self._changed.extend(links)

    def expect(self, session: WriteSession, workspace: int, link_ids: Sequence[int]) -> None:
        """Remember, within the transaction, that links want a title."""
        self._titles.expect(session, workspace, link_ids)

    def offer(self, link_ids: Sequence[int]) -> None:
        """Keep who wants one."""
        self._untitled.extend(link_ids)

    def tell(self, evict: Evict) -> None:
        """Tell of all of them: they are committed."""
        evict(self._changed)
        self._titles.offer(self._untitled)
