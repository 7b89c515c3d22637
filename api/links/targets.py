"""Where all links lead, for who asks about targets and not about links."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import text

from api.core.database.routing import Database

_PAGE = 5_000

# With a workspace in the order of its own index, otherwise of the primary key.
_ALL = text(
    """
    SELECT slot, id, workspace_id, url FROM links
    WHERE (slot, id) > (:slot, :id) AND deleted_at IS NULL
    ORDER BY slot, id LIMIT :limit
    """
)
_OWN = text(
    """
    SELECT slot, id, workspace_id, url FROM links
    WHERE workspace_id = :workspace AND id > :id AND deleted_at IS NULL
    ORDER BY id LIMIT :limit
    """
)
# The planner's own estimate: to count them all would take as long as to read them.
_ABOUT = text("SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'links'::regclass")


class LinkTarget(NamedTuple):
    """A link that is not deleted, and where it leads."""

    id: int
    workspace_id: int
    url: str


def stream_targets(db: Database, workspace: int | None) -> Iterator[Sequence[LinkTarget]]:
    """The targets of all links, or of one workspace's, page by page; each page is a transaction
    of its own, so that nobody holds one for as long as there are links."""
    for shard in db.shards():
        slot, identifier, more = -1, -1, True
        while more:
            with db.read_shard(shard) as session:
                place = {"slot": slot, "id": identifier, "workspace": workspace, "limit": _PAGE}
                rows = session.execute(_ALL if workspace is None else _OWN, place).all()
            more = len(rows) == _PAGE
            if rows:
                slot, identifier = rows[-1].slot, rows[-1].id
                yield [
                    LinkTarget(row.id, row.workspace_id, row.url)
                    for row in rows
                    if not session.is_copy(row.slot)
                ]


def count_about(db: Database) -> int:
    """About how many links there are."""
    total = 0
    for shard in db.read_each():
        with shard as session:
            total += session.scalar(_ABOUT)
    return total
