"""Queries on links whose title is to be fetched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ARRAY, BigInteger, SmallInteger, bindparam, text

from api.core.database.routing import WriteSession
from api.core.ids import slot_of_id

# A link whose target has changed begins anew.
_EXPECT = text(
    """
    INSERT INTO title_fetches (slot, link_id, workspace_id)
    SELECT slot, link_id, :workspace FROM unnest(:slots, :links) AS new (slot, link_id)
    ON CONFLICT (slot, link_id)
    DO UPDATE SET tries = 0, due_at = now(), offered_at = now()
    """
).bindparams(
    bindparam("slots", type_=ARRAY(SmallInteger)), bindparam("links", type_=ARRAY(BigInteger))
)

# Of two workers that were given the same link the second finds it not due any more. The time
# until the next try grows sixfold: five minutes, half an hour.
_CLAIM = text(
    """
    UPDATE title_fetches
    SET tries = tries + 1, due_at = now() + interval '5 minutes' * power(6, tries)
    WHERE slot = :slot AND link_id = :link AND due_at <= now()
    RETURNING workspace_id, tries
    """
)

# Who has wished again meanwhile is left alone: the tries then are others.
_SETTLE = text(
    "DELETE FROM title_fetches WHERE slot = :slot AND link_id = :link AND tries = :tries"
)

# By their places, as the rows are locked by then: to look so many up by their keys, PostgreSQL
# would read the whole table.
_OFFER = text(
    """
    UPDATE title_fetches SET offered_at = now()
    WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM title_fetches
        WHERE due_at <= now() AND offered_at <= now() - make_interval(secs => :lost)
        ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ))
    RETURNING link_id
    """
)


class Claim(NamedTuple):
    """The right to try, for some minutes; `tries` counts this one."""

    workspace_id: int
    tries: int


def insert_wishes(session: WriteSession, workspace: int, link_ids: Sequence[int]) -> None:
    """Note that links of one shard want a title."""
    slots = list(map(slot_of_id, link_ids))
    session.execute(_EXPECT, {"workspace": workspace, "slots": slots, "links": list(link_ids)})


def update_claim(session: WriteSession, slot: int, link_id: int) -> Claim | None:
    """Begin a try, unless somebody has, or it is too early, or there is nothing to do."""
    row = session.execute(_CLAIM, {"slot": slot, "link": link_id}).one_or_none()
    return None if row is None else Claim(*row)


def delete_wish(session: WriteSession, slot: int, link_id: int, tries: int) -> None:
    """End the wish for which the `tries`th try was made."""
    session.execute(_SETTLE, {"slot": slot, "link": link_id, "tries": tries})


def update_offers(session: WriteSession, lost_seconds: float, limit: int) -> list[int]:
    """Links of a shard that are due and were not offered for so long; now they are."""
    return list(session.scalars(_OFFER, {"lost": lost_seconds, "limit": limit}))
