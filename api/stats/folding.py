"""Folds clicks into the rows that they add to, so that many clicks cost one row each.

Everything here runs once per click or more: it works by columns, in C where it can.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple, Protocol

from api.stats.models import DIMENSIONS, SUBJECT_LINK, SUBJECT_WORKSPACE
from api.stats.sketches import sketch_of

QUARTER_SECONDS = 900
MAX_VALUE_LENGTH = 200
_COLUMNS = [(number, attrgetter(name)) for name, number in DIMENSIONS.items() if name != "total"]
_visitor = attrgetter("visitor")


class CountedClick(Protocol):
    """What a click must tell to be counted; texts are empty where it does not."""

    @property
    def slot(self) -> int: ...
    @property
    def link_id(self) -> int: ...
    @property
    def workspace_id(self) -> int: ...
    @property
    def clicked_at(self) -> datetime: ...
    @property
    def visitor(self) -> int: ...
    @property
    def bot(self) -> bool: ...
    @property
    def country(self) -> str: ...
    @property
    def referrer(self) -> str: ...
    @property
    def browser(self) -> str: ...
    @property
    def system(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def utm_source(self) -> str: ...
    @property
    def utm_medium(self) -> str: ...
    @property
    def utm_campaign(self) -> str: ...
    @property
    def utm_term(self) -> str: ...
    @property
    def utm_content(self) -> str: ...


class CountKey(NamedTuple):
    """The primary key of a count, in its order; a quarter is counted from 1970."""

    slot: int
    subject: int
    subject_id: int
    dimension: int
    quarter: int
    bot: bool
    value: str


class Visits:
    """The visitor of each click of a row. Rows of the same clicks share one, and its sketch."""

    def __init__(self, visitors: list[int]) -> None:
        self.visitors = visitors

    @property
    def clicks(self) -> int:
        """One per visit."""
        return len(self.visitors)

    @cached_property
    def sketch(self) -> bytes:
        """The sketch of these visitors alone."""
        return sketch_of(self.visitors)


def home_slot() -> int:
    """The slot of a shard under which it keeps the counts of whole workspaces."""
    return 0


def fold(clicks: Iterable[CountedClick]) -> dict[CountKey, Visits]:
    """The rows that `clicks` of one shard add to."""
    groups: dict[tuple[int, int, int, int, bool], list[CountedClick]] = defaultdict(list)
    home = home_slot()
    for click in clicks:
        quarter = int(click.clicked_at.timestamp() // QUARTER_SECONDS)
        bot = click.bot
        groups[click.slot, SUBJECT_LINK, click.link_id, quarter, bot].append(click)
        groups[home, SUBJECT_WORKSPACE, click.workspace_id, quarter, bot].append(click)
    rows: dict[CountKey, Visits] = {}
    for (slot, subject, subject_id, quarter, bot), members in groups.items():
        for dimension, value, visits in _split(members):
            rows[CountKey(slot, subject, subject_id, dimension, quarter, bot, value)] = visits
    return rows


def _split(members: Sequence[CountedClick]) -> Iterable[tuple[int, str, Visits]]:
    """The members once as a whole, then by each dimension."""
    visitors = list(map(_visitor, members))
    everybody = Visits(visitors)
    yield DIMENSIONS["total"], "", everybody
    for dimension, value_of in _COLUMNS:
        values = list(map(value_of, members))
        distinct = set(values)
        if len(distinct) == 1:
            yield dimension, bounded(values[0]), everybody
            continue
        parts: dict[str, list[int]] = {value: [] for value in distinct}
        for value, visitor in zip(values, visitors, strict=True):
            parts[value].append(visitor)
        for value, part in _bounded_parts(parts).items():
            yield dimension, value, Visits(part)


def _bounded_parts(parts: dict[str, list[int]]) -> dict[str, list[int]]:
    # Two values may become one, and one statement must not meet a row twice.
    whole: dict[str, list[int]] = {}
    for value, part in parts.items():
        whole.setdefault(bounded(value), []).extend(part)
    return whole


def bounded(value: str) -> str:
    """`value` as PostgreSQL and its index can hold it, whatever a visitor has sent."""
    if value.isascii() and len(value) <= MAX_VALUE_LENGTH and "\0" not in value:
        return value
    text = value.replace("\0", "")[:MAX_VALUE_LENGTH]
    return text.encode("utf-8", "replace").decode()
