"""Folds clicks into the counts that they add, so that many clicks cost one row each.

Everything here runs once per click or more: it works by columns, in C where it can.
"""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple, Protocol

from api.core.ids import HOME_SLOT
from api.stats import sketches
from api.stats.models import (
    DIMENSIONS,
    GRAIN_DAY,
    GRAIN_QUARTER,
    GRAIN_SECONDS,
    SUBJECT_DOMAIN,
    SUBJECT_LINK,
    SUBJECT_TAG,
    SUBJECT_WORKSPACE,
)
from api.stats.sketches import WHOLE
from api.stats.values import Split, join, pack, split

QUARTER_MS = GRAIN_SECONDS[GRAIN_QUARTER] * 1000
_QUARTERS_OF_DAY = GRAIN_SECONDS[GRAIN_DAY] // GRAIN_SECONDS[GRAIN_QUARTER]


class CountedClick(Protocol):
    """A click as a named tuple of at least these; texts are empty where it does not tell."""

    _fields: tuple[str, ...]

    @property
    def slot(self) -> int: ...
    @property
    def link_id(self) -> int: ...
    @property
    def workspace_id(self) -> int: ...
    @property
    def at_ms(self) -> int: ...
    @property
    def visitor(self) -> int: ...
    @property
    def bot(self) -> bool: ...
    def __iter__(self) -> Iterator[object]: ...


class LinkPlace(Protocol):
    """Under what else than itself and its workspace a link is counted."""

    @property
    def domain(self) -> str: ...
    @property
    def tags(self) -> Sequence[str]: ...


class Fold(NamedTuple):
    """Some clicks, folded."""

    clicks: int
    visitors: bytes
    dimensions: tuple[bytes | None, ...]  # in the order of DIMENSIONS


class Count(NamedTuple):
    """A part of a count; `start` is in units of its grain since 1970."""

    slot: int
    subject: int
    subject_id: int
    grain: int
    start: int
    bot: bool
    part: int
    workspace_id: int
    fold: Fold


def domain_id(workspace: int, domain: str) -> int:
    """What a workspace's clicks on a domain are counted under."""
    return _name_id("stats.domain", workspace, domain)


def tag_id(workspace: int, tag: str) -> int:
    """What a workspace's clicks on links with a tag are counted under."""
    return _name_id("stats.tag", workspace, tag)


def new_part() -> int:
    """The number of a new part: of two the later is larger, and no two are equal."""
    return (time.time_ns() // 1000 << 10) + secrets.randbelow(1 << 10)


def fold(clicks: Sequence[CountedClick], places: Mapping[int, LinkPlace]) -> list[Count]:
    """The counts that clicks of one shard add.

    `places` tells of links by their id; one that it does not know is counted for itself and its
    workspace only.
    """
    groups = _grouped(clicks)
    counted = _counted(groups, places)
    leaves = [_visits_of(members) for _, members in groups]
    workspaces = [members[0].workspace_id for _, members in groups]
    # A workspace with one domain, or a day of which only one quarter is here, is folded once.
    folds: dict[tuple[int, ...], Fold] = {}
    part = new_part()
    counts = []
    for key, indices in counted.items():
        same = tuple(indices)
        folded = folds.get(same)
        if folded is None:
            folded = folds[same] = _fold([leaves[index] for index in same])
        counts.append(Count(*key, part, workspaces[same[0]], folded))
    return counts


def _grouped(
    clicks: Sequence[CountedClick],
) -> list[tuple[tuple[int, int, bool], list[CountedClick]]]:
    """The clicks by link, quarter, and bot or person."""
    groups: defaultdict[tuple[int, int, bool], list[CountedClick]] = defaultdict(list)
    for click in clicks:
        groups[click.link_id, click.at_ms // QUARTER_MS, click.bot].append(click)
    return list(groups.items())


def _counted(
    groups: Sequence[tuple[tuple[int, int, bool], list[CountedClick]]],
    places: Mapping[int, LinkPlace],
) -> dict[tuple[int, int, int, int, int, bool], list[int]]:
    """The counts that the groups add to, each with the indices of its groups."""
    counted: defaultdict[tuple[int, int, int, int, int, bool], list[int]] = defaultdict(list)
    for index, ((link_id, quarter, bot), (first, *_)) in enumerate(groups):
        workspace = first.workspace_id
        subjects = [
            (first.slot, SUBJECT_LINK, link_id),
            (HOME_SLOT, SUBJECT_WORKSPACE, workspace),
        ]
        place = places.get(link_id)
        if place is not None:
            subjects.append((HOME_SLOT, SUBJECT_DOMAIN, domain_id(workspace, place.domain)))
            subjects += [(HOME_SLOT, SUBJECT_TAG, tag_id(workspace, tag)) for tag in place.tags]
        day = quarter // _QUARTERS_OF_DAY
        for slot, subject, subject_id in subjects:
            counted[slot, subject, subject_id, GRAIN_QUARTER, quarter, bot].append(index)
            counted[slot, subject, subject_id, GRAIN_DAY, day, bot].append(index)
    return counted


class _Visits(NamedTuple):
    """The visitors of some clicks, by their short hashes: of all, and split by each dimension."""

    visitors: list[int]
    splits: list[Split]


def _visits_of(clicks: Sequence[CountedClick]) -> _Visits:
    by_name = dict(zip(clicks[0]._fields, zip(*clicks, strict=True), strict=True))
    visitors = list(map(sketches.short_hash, by_name["visitor"]))
    return _Visits(visitors, [split(by_name[name], visitors) for name in DIMENSIONS])


def _fold(leaves: Sequence[_Visits]) -> Fold:
    if len(leaves) == 1:
        ((visitors, splits),) = leaves
    else:
        # Lists are joined in C; to split all clicks again would take several times as long.
        visitors = list(chain.from_iterable(leaf.visitors for leaf in leaves))
        splits = [join(parts) for parts in zip(*(leaf.splits for leaf in leaves), strict=True)]
    return Fold(len(visitors), sketches.pack(visitors, WHOLE), tuple(map(pack, splits)))


@lru_cache(20_000)
def _name_id(kind: str, workspace: int, name: str) -> int:
    text = f"{workspace}\0{name}".encode("utf-8", "replace")
    digest = blake2b(text, digest_size=8, person=kind.encode()).digest()
    return int.from_bytes(digest, signed=True)
