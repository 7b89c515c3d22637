"""Adds up counts that come in the order of time, each under its key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from api.stats import sketches

Key = TypeVar("Key")


class Tally(NamedTuple):
    """Clicks, and how many different visitors they are of."""

    clicks: int
    visitors: int


class Tallies(Generic[Key]):
    """The tally of each key.

    The hash of a visitor changes every day (UTC), so visitors are the same within a day only:
    they are merged there, and added up over days. No more than one day's sketches are held.
    """

    def __init__(self) -> None:
        self._clicks: defaultdict[Key, int] = defaultdict(int)
        self._visitors: defaultdict[Key, int] = defaultdict(int)
        self._today: defaultdict[Key, list[bytes]] = defaultdict(list)
        self._day = 0

    def add(self, day: int, key: Key, clicks: int, visitors: bytes) -> None:
        """Take in a count of a day; days never go back."""
        if day != self._day:
            self._close_day()
            self._day = day
        self._clicks[key] += clicks
        self._today[key].append(visitors)

    def __getitem__(self, key: Key) -> Tally:
        self._close_day()
        return Tally(self._clicks.get(key, 0), self._visitors.get(key, 0))

    def items(self) -> Iterator[tuple[Key, Tally]]:
        """Each key that something was added under, and its tally."""
        self._close_day()
        for key, clicks in self._clicks.items():
            yield key, Tally(clicks, self._visitors[key])

    def _close_day(self) -> None:
        for key, parts in self._today.items():
            self._visitors[key] += sketches.count(parts)
        self._today.clear()
