"""Which shard owns each slot: read from the directory, and kept for a second.

A slot that moves to another shard is told to all processes in steps that lie further apart than a
map is kept, so that no two processes ever write it in two places, or read what the other has not:
first it is closed (nobody writes), then its owner changes, then it is open again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import column, select, table

from api.core.database.prepared import Question, ReadOnce
from api.core.database.sessions import SlotRange
from api.core.errors import Unavailable
from api.core.ids import SLOTS

log = logging.getLogger(__name__)

MAIN = "main"
# A process acts on a map no older than this, unless the directory is away.
MAP_SECONDS = 1.0
# For so long others go on with the last one while one of them asks for the next.
MAP_PATIENCE_SECONDS = 0.5
# How soon a directory that did not answer is asked again.
_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Slots:
    """The map at one moment."""

    version: int
    owners: Sequence[str]
    closed: frozenset[int] = frozenset()
    urls: Mapping[str, str | None] = field(default_factory=dict)
    copies: Mapping[str, Sequence[SlotRange]] = field(default_factory=dict)
    # When this version was read (monotonic seconds): what moved with it was moved before.
    read_at: float = 0.0

    @property
    def shards(self) -> list[str]:
        """The names of all shards, also of those that own nothing."""
        return [MAIN, *sorted(self.urls.keys() - {MAIN})]

    def is_moving(self, shard: str) -> bool:
        """Whether slots move to this shard or from it, or moved so lately that copies are left."""
        return shard in self.copies or any(
            shard in self.owners[first : last + 1]
            for ranges in self.copies.values()
            for first, last in ranges
        )

    def owned_by(self, shard: str) -> list[SlotRange]:
        """The slots of a shard, as ranges."""
        return ranges_of(slot for slot, owner in enumerate(self.owners) if owner == shard)


# Without the tables' models: a process that redirects loads none.
_VERSION = Question(select(table("slot_map", column("version")).c.version))
_SHARDS = Question(select(*table("shards", column("name"), column("url")).c))
_SLOTS = Question(select(*table("slots", *map(column, ("slot", "shard", "closed", "copy_on"))).c))


class SlotMap:
    """The map as this process knows it."""

    def __init__(
        self,
        ask: Callable[[], ReadOnce],
        ask_replica: Callable[[], ReadOnce] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ask` gives a connection to the directory, `ask_replica` one to a replica of it."""
        self._ask = ask
        self._ask_replica = ask_replica
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: Slots | None = None
        self._until = 0.0
        self._away = False

    def current(self) -> Slots:
        """The map, not older than `MAP_SECONDS`; older only while the directory is away.

        Raises:
            Unavailable: the directory is away, and was all the time.
        """
        known = self._slots
        if known is not None and self._clock() < self._until:
            return known
        # Of those who want it one asks; the others take the old one, where there is one, and not
        # for long: whoever moves slots counts on it. Unless the directory is away.
        late = self._clock() >= self._until + MAP_PATIENCE_SECONDS and not self._away
        if not self._lock.acquire(blocking=known is None or late):
            assert known is not None  # noqa: S101 - else the lock was waited for
            return known
        try:
            if self._slots is None or self._clock() >= self._until:
                self._slots = self._renew(self._slots)
            return self._slots
        finally:
            self._lock.release()

    def doubt(self) -> None:
        """Have the map read again by whoever wants it next: it cannot be right."""
        self._until = 0.0

    def _renew(self, known: Slots | None) -> Slots:
        began = self._clock()
        try:
            known = self._read(self._ask(), known)
        except Unavailable:
            if known is None:
                if self._ask_replica is None:
                    raise
                # What moves is refused where it is not any more.
                known = self._read(self._ask_replica(), None)
            self._until = self._clock() + _RETRY_SECONDS
            self._away = True
            return known
        self._away = False
        self._until = began + MAP_SECONDS
        return known

    def _read(self, connection: ReadOnce, known: Slots | None) -> Slots:
        """The map, read until nobody has changed it meanwhile; the known one if it is right."""
        with connection as directory:
            version = directory.ask(_VERSION)[0].version
            if known is not None and version == known.version:
                return known
            while True:
                slots = slots_of(version, directory.ask(_SHARDS), directory.ask(_SLOTS))
                after = directory.ask(_VERSION)[0].version
                if after == version:
                    return replace(slots, read_at=self._clock())
                version = after


def slots_of(version: int, shards: Sequence[Any], rows: Sequence[Any]) -> Slots:
    """The map that rows of the directory say."""
    owners = [MAIN] * SLOTS
    copies: dict[str, list[int]] = {}
    for row in rows:
        owners[row.slot] = row.shard
        if row.copy_on is not None:
            copies.setdefault(row.copy_on, []).append(row.slot)
    return Slots(
        version,
        tuple(owners),
        frozenset(row.slot for row in rows if row.closed),
        {row.name: row.url for row in shards},
        {name: tuple(ranges_of(slots)) for name, slots in copies.items()},
    )


def ranges_of(slots: Any) -> list[SlotRange]:
    """Slots as ranges, each with its last; in order."""
    found: list[SlotRange] = []
    for slot in sorted(slots):
        if found and found[-1][1] == slot - 1:
            found[-1] = (found[-1][0], slot)
        else:
            found.append((slot, slot))
    return found
