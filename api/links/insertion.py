"""How rows become links: shard by shard, and with another slug or id where one is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from api.core.database.prepared import WriteOnce
from api.core.database.sessions import AnyRow
from api.identity.service import IdentityService
from api.links import store
from api.links.drafts import LinkDraft, LinkRules
from api.links.titles import TitleWishes, wish
from api.links.transactions import Evict, Transactions


class LinkInsertion:
    """Inserts the rows of new links."""

    def __init__(
        self,
        db: Transactions,
        rules: LinkRules,
        identity: IdentityService,
        titles: TitleWishes,
        evict: Evict,
        once: Callable[[int, int], WriteOnce] | None = None,
    ) -> None:
        """`evict` is told of links whose slugs somebody may have asked for before; `once` writes
        a row that comes alone, as a transaction of its own."""
        self._db = db
        self._rules = rules
        self._identity = identity
        self._titles = titles
        self._evict = evict
        self._once = once

    def insert(
        self, waiting: Mapping[int, dict[str, Any]], drafts: Sequence[LinkDraft]
    ) -> Iterator[dict[int, AnyRow]]:
        """Insert the rows whose slugs are free; shard by shard those links, by their draft."""
        # In one order everywhere: two batches with the same slugs then wait for each other's rows
        # in turn, and not crosswise.
        order = sorted(waiting, key=lambda index: place_of(waiting[index]))
        while order:
            first = waiting[order[0]]["slot"]
            here = [i for i in order if self._db.same_shard(first, waiting[i]["slot"])]
            order = [i for i in order if not self._db.same_shard(first, waiting[i]["slot"])]
            index_of = {waiting[index]["id"]: index for index in here}
            made = {
                index_of[link.id]: link
                for link in self._insert_rows(first, [waiting[index] for index in here])
            }
            # Nobody can have asked for a slug that was made up now.
            self._evict(link for index, link in made.items() if drafts[index].slug is not None)
            yield made

    def _insert_rows(self, slot: int, rows: Sequence[Mapping[str, Any]]) -> Sequence[AnyRow]:
        """Insert rows of the shard of `slot`; the links that came to be."""
        workspace = rows[0]["workspace_id"]
        if len(rows) == 1 and self._once is not None:
            with self._once(slot, workspace) as connection:
                return store.insert_link(connection, rows[0])
        with self._db.write(slot, workspace) as session:
            made = store.insert_links(session, rows)
            wished = wish(self._titles, session, workspace, made)
        self._titles.offer(wished)
        return made

    def second_try(
        self, workspace: int, drafts: Sequence[LinkDraft], refused: Mapping[int, dict[str, Any]]
    ) -> dict[int, dict[str, Any]]:
        """Rows for those of the refused that can be had after all: another generated slug, another
        id, or the slug of a deleted link where the workspace lets it be used again."""
        custom = {index: row for index, row in refused.items() if drafts[index].slug is not None}
        free = self._free_slugs(workspace, [place_of(row) for row in custom.values()])
        return {
            index: self._rules.place(row, new_slug=index not in custom)
            for index, row in refused.items()
            if index not in custom or place_of(row) in free
        }

    def _free_slugs(
        self, workspace: int, slugs: Sequence[tuple[int, str, str]]
    ) -> set[tuple[int, str, str]]:
        """Those of the slugs (slot, domain, slug) that are free, or now are."""
        free = set(slugs)
        reuse = bool(slugs) and self._identity.get_workspace(workspace).reuse_deleted_slugs
        while slugs:
            first = slugs[0][0]
            here = [slug for slug in slugs if self._db.same_shard(first, slug[0])]
            slugs = [slug for slug in slugs if not self._db.same_shard(first, slug[0])]
            with self._db.write(first, workspace) as session:
                holders = store.find_holders(session, here)
                dead = [
                    holder
                    for holder in holders
                    if reuse and holder.deleted_at and holder.workspace_id == workspace
                ]
                if dead:
                    store.delete_deleted(session, workspace, [holder.id for holder in dead])
            free -= {(it.slot, it.domain, it.slug) for it in holders if it not in dead}
        return free


def place_of(row: Mapping[str, Any]) -> tuple[int, str, str]:
    """What of a link is unique."""
    return row["slot"], row["domain"], row["slug"]
