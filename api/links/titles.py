"""Links that have no title: somebody else is told of them, who may find them one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from api.core.database.routing import WriteSession
from api.core.database.sessions import AnyRow


class TitleWishes(Protocol):
    """Who finds titles."""

    def expect(self, session: WriteSession, workspace: int, link_ids: Sequence[int]) -> None:
        """Remember, in the transaction of the links themselves, that they want a title."""

    def offer(self, link_ids: Sequence[int]) -> None:
        """Have somebody begin; at once, and it may be lost. Raises nothing."""


class NoTitles:
    """Nobody does."""

    def expect(self, session: WriteSession, workspace: int, link_ids: Sequence[int]) -> None:
        """Forget it."""

    def offer(self, link_ids: Sequence[int]) -> None:
        """Nothing was remembered."""


NO_TITLES = NoTitles()


def wish(
    titles: TitleWishes, session: WriteSession, workspace: int, links: Sequence[AnyRow]
) -> list[int]:
    """Wish titles for those of `links` that have none and lead to a page of the web; for which."""
    wished = [
        link.id
        for link in links
        if link.title is None and link.url.startswith(("http://", "https://"))
    ]
    if wished:
        titles.expect(session, workspace, wished)
    return wished
