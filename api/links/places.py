"""Under what a link's clicks are counted besides itself and its workspace."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import ARRAY, BigInteger, SmallInteger, bindparam, text

from api.core.database.routing import ReadSession
from api.core.ids import slot_of_id

_FIND = text(
    "SELECT links.id, links.domain, links.tags FROM unnest(:slots, :ids) AS asked (slot, id)"
    " JOIN links ON links.slot = asked.slot AND links.id = asked.id"
).bindparams(
    bindparam("slots", type_=ARRAY(SmallInteger)), bindparam("ids", type_=ARRAY(BigInteger))
)


class LinkPlace(NamedTuple):
    """The domain and the tags of a link, as they are now."""

    domain: str
    tags: tuple[str, ...]


def find_places(session: ReadSession, link_ids: Collection[int]) -> dict[int, LinkPlace]:
    """The places of links of one shard by their id; those that are none are left out."""
    ids = list(link_ids)
    parameters = {"slots": list(map(slot_of_id, ids)), "ids": ids}
    rows = session.connection().execute(_FIND, parameters)
    return {identifier: LinkPlace(domain, tuple(tags)) for identifier, domain, tags in rows}
