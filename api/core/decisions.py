"""How limits were decided in this process, for its metrics."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple


class Decided(NamedTuple):
    """A kind of decision; `shared` where all processes have one count."""

    limit: str
    allowed: bool
    shared: bool


class LimitDecisions(Counter[Decided]):
    """Counts decisions. Without a lock: one that two threads count as one matters to nobody."""

    def note(self, limit: str, *, allowed: bool, shared: bool) -> None:
        """Count one."""
        self[Decided(limit, allowed, shared)] += 1
