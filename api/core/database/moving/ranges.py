"""Slots as ranges: read, told, and put into SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from api.core.database.sessions import SlotRange
from api.core.database.slot_map import ranges_of
from api.core.ids import SLOTS


def parse_ranges(text: str) -> list[SlotRange]:
    """`0-511,600` as ranges.

    Raises:
        ValueError: it names no slots, or some that are none.
    """
    slots: set[int] = set()
    for part in text.split(","):
        first, separator, last = part.strip().partition("-")
        low = int(first)
        high = int(last) if separator else low
        if not 0 <= low <= high < SLOTS:
            raise ValueError(f"no such slots: {part.strip()}; there are 0 to {SLOTS - 1}")
        slots.update(range(low, high + 1))
    return ranges_of(slots)


def told(ranges: Iterable[SlotRange]) -> str:
    """Ranges as they are written."""
    parts = (str(first) if first == last else f"{first}-{last}" for first, last in ranges)
    return ",".join(parts) or "none"


def slots_in(ranges: Iterable[SlotRange]) -> set[int]:
    """All slots of ranges."""
    return {slot for first, last in ranges for slot in range(first, last + 1)}


def all_but(ranges: Iterable[SlotRange]) -> list[SlotRange]:
    """The ranges of all other slots."""
    return ranges_of(set(range(SLOTS)) - slots_in(ranges))


def multirange(ranges: Iterable[SlotRange]) -> str:
    """Ranges as PostgreSQL writes an `int4multirange`."""
    return "{" + ",".join(f"[{first},{last + 1})" for first, last in ranges) + "}"


def condition(ranges: Sequence[SlotRange], column: str = "slot") -> str:
    """A condition of SQL on a column of slots; of numbers alone, so nothing is to be quoted."""
    parts = (f"{column} BETWEEN {int(first)} AND {int(last)}" for first, last in ranges)
    return f"({' OR '.join(parts)})"
