"""The rules of titles: which links want one, and what becomes of a try."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from api.core.database.routing import Database, WriteSession
from api.core.database.sessions import AnyRow
from api.core.errors import NotFound
from api.core.ids import slot_of_id
from api.core.outbound.client import PageReader
from api.core.outbound.dialing import Failed, Refused
from api.links.service import LinkService
from api.titles import store
from api.titles.page import has_title, is_html, title_of

log = logging.getLogger(__name__)

# With five minutes and then half an hour between them.
MAX_TRIES = 3
# A job that nobody took for so long is offered again.
_LOST_SECONDS = 120.0
_OFFERED_AT_ONCE = 1_000
# Answers of a server that has no time just now.
_LATER = frozenset((408, 421, 425, 429))

# Queues jobs for links; returns at once and raises nothing.
Offer = Callable[[Sequence[int]], None]


class TitleWishes:
    """Remembers which links want a title, and has workers told of them."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer

    def expect(self, session: WriteSession, workspace: int, link_ids: Sequence[int]) -> None:
        """Remember, in the transaction of the links themselves, that they want a title."""
        store.insert_wishes(session, workspace, link_ids)

    def offer(self, link_ids: Sequence[int]) -> None:
        """Have a worker begin. What is lost on the way is offered again by `TitleFetcher`."""
        if link_ids:
            self._offer(link_ids)


class TitleFetcher:
    """Fetches titles, in a worker."""

    def __init__(self, db: Database, links: LinkService, reader: PageReader, offer: Offer) -> None:
        self._db = db
        self._links = links
        self._reader = reader
        self._offer = offer

    def fetch(self, link_id: int) -> str:
        """Try to give a link the title of its target; in a word, what came of it."""
        slot = slot_of_id(link_id)
        with self._db.write(slot) as session:
            claim = store.update_claim(session, slot, link_id)
        if claim is None:
            return "nothing to do"
        outcome = self._try(claim, link_id) if claim.tries <= MAX_TRIES else "given up"
        if outcome != "later" or claim.tries >= MAX_TRIES:
            with self._db.write(slot) as session:
                store.delete_wish(session, slot, link_id, claim.tries)
        return outcome

    def offer_due(self) -> int:
        """Offer what is due and nobody has taken: what is to be tried again, and jobs that were
        lost; how many.

        Raises:
            Unavailable: the database is away.
        """
        offered = 0
        for shard in self._db.shards():
            if self._db.slots().is_moving(shard):
                continue  # what is due waits for the end of the move
            with self._db.write_shard(shard) as session:
                due = store.update_offers(session, _LOST_SECONDS, _OFFERED_AT_ONCE)
            self._offer(due)
            offered += len(due)
        return offered

    def _try(self, claim: store.Claim, link_id: int) -> str:
        link = self._wanting(claim.workspace_id, link_id)
        if link is None:
            return "not wanted"
        try:
            title = self._title_at(link.url)
        except Refused as error:
            log.info("no title of link %d is fetched: %s", link_id, error)
            return "refused"
        except Failed as error:
            log.info("the title of link %d was not fetched: %s", link_id, error)
            return "later"
        if title is None:
            return "has none"
        made = self._links.set_title(claim.workspace_id, link_id, link.url, title)
        return "set" if made else "changed meanwhile"

    def _wanting(self, workspace: int, link_id: int) -> AnyRow | None:
        """The link, if it still is there and has no title."""
        try:
            link = self._links.get_link(workspace, link_id)
        except NotFound:
            return None
        return link if link.title is None else None

    def _title_at(self, url: str) -> str | None:
        """The title of the page at `url`, None where it is no page or has none.

        Raises:
            Refused: it may not be asked for.
            Failed: it did not answer, or has no time.
        """
        page = self._reader.read(url, is_html, has_title)
        if page.status in _LATER or page.status >= 500:
            raise Failed(f"It answers {page.status}.")
        return title_of(page.body, page.content_type) if page.body else None
