"""Sums up many durations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Milliseconds:
    """Percentiles of durations."""

    p50: float
    p99: float
    worst: float

    @classmethod
    def of(cls, durations: Sequence[float]) -> Self:
        """The percentiles of durations in milliseconds, by nearest rank."""
        ranked = sorted(durations)
        last = len(ranked) - 1
        return cls(ranked[round(last * 0.5)], ranked[round(last * 0.99)], ranked[last])

    def __str__(self) -> str:
        return f"p50 {self.p50:,.1f} ms, p99 {self.p99:,.1f} ms, longest {self.worst:,.1f} ms"
