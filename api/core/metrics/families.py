"""Counters, gauges and histograms as plain Python values, told in prometheus_client's terms.

A count on the way of a request is an addition to an integer, without a lock or a label lookup: what
two threads count as one matters to nobody. All else is done when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Literal, TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

# How a gauge of several processes becomes one; `liveall` keeps them apart by a label `pid`.
Across = Literal["livesum", "livemin", "livemax", "liveall"]

# The values of labels, in their order.
Labels = TypeVar("Labels", bound=tuple[str, ...])


class Histogram:
    """How often values lay within bounds, and their sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self.counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value`, as often as it was met."""
        self.counts[bisect_left(self._bounds, value)] += times
        self.sum += value * times

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound, and how many values were at most as large."""
        total = 0
        found: list[tuple[str, float]] = []
        for bound, number in zip((*self._bounds, inf), self.counts, strict=True):
            total += number
            name: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
            found.append((name, float(total)))
        return found


def counter(
    name: str, meaning: str, values: Mapping[Labels, float], labels: Sequence[str] = ()
) -> Metric:
    """A counter with the values of each combination of labels; `_total` is added to `name`."""
    family = CounterMetricFamily(name, meaning, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def gauge(
    name: str,
    meaning: str,
    values: Mapping[Labels, float],
    labels: Sequence[str] = (),
    *,
    across: Across = "livesum",
) -> Metric:
    """A gauge; `across` says what it is of all processes together."""
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    family._multiprocess_mode = across  # type: ignore[attr-defined] # as the library itself notes it
    return family


def histogram(
    name: str, meaning: str, values: Mapping[Labels, Histogram], labels: Sequence[str] = ()
) -> Metric:
    """A histogram for each combination of labels."""
    family = HistogramMetricFamily(name, meaning, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value.buckets(), value.sum)
    return family


class Told(Collector):
    """What a function tells when it is asked."""

    def __init__(self, tell: Callable[[], Iterator[Metric]]) -> None:
        self._tell = tell

    def describe(self) -> list[Metric]:
        """Nothing in advance: to ask would be to measure."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As it is now."""
        yield from self._tell()
