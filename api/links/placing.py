"""Where the links of an import live: slugs, slots and ids that follow from the numbers of rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

from api.core.ids import dated_ms, id_of, later_id, milliseconds_of, slot_of, time_of_id
from api.core.slugs import ALPHABET

# Of rows without a date so many share a millisecond: no faster than they can be received.
_ROWS_PER_MS = 64
# Rows with the same date meet others' ids: each further try is a millisecond later.
TRIES = 32

Place = tuple[int, str, str]


class Origin(NamedTuple):
    """What ids and slugs are made of, beside the numbers of rows; the same for all of an import."""

    workspace: int
    seed: bytes
    begun_at: datetime


def placed(
    origin: Origin, number: int, values: Mapping[str, Any], attempt: int, slug_length: int
) -> dict[str, Any]:
    """The row of a link with its slug, slot and id: the same ones for the same attempt."""
    slug = values["slug"] or _slug_of(origin.seed, number, attempt, slug_length)
    slot = slot_of(values["domain"], slug)
    made: datetime | None = values["created_at"]
    if made is None:
        ms = milliseconds_of(origin.begun_at) + number // _ROWS_PER_MS
    else:
        ms = dated_ms(made)
    # Rows of a chunk differ in it, whatever their dates.
    identifier = id_of(ms + attempt, slot, number + int.from_bytes(origin.seed[:2]))
    return {
        **values,
        "slug": slug,
        "slot": slot,
        "id": identifier,
        "created_at": made or time_of_id(identifier),
    }


def own_ids(row: Mapping[str, Any]) -> set[int]:
    """The ids that a row which was placed first may have been given later."""
    return {later_id(row["id"], attempt) for attempt in range(TRIES)}


def place_of(row: Mapping[str, Any]) -> Place:
    """What of a link is unique."""
    return row["slot"], row["domain"], row["slug"]


def _slug_of(seed: bytes, number: int, attempt: int, length: int) -> str:
    """A slug that nobody guesses who does not know the seed."""
    digest = blake2b(b"%d/%d" % (number, attempt), key=seed).digest()
    left = int.from_bytes(digest)
    characters = []
    for _ in range(length):
        left, index = divmod(left, len(ALPHABET))
        characters.append(ALPHABET[index])
    return "".join(characters)
