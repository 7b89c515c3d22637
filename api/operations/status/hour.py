"""The last hour as series of one value a minute; None where nothing is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from api.operations.status.counters import Times
from api.operations.status.figures import MOST, Figures, add

MINUTES = 60
Values = list[float | None]


@dataclass(frozen=True)
class Hour:
    """The minutes that the page shows, the last of which still goes on."""

    first: int  # minutes since 1970
    minutes: Sequence[Figures | None]

    @property
    def starts(self) -> list[int]:
        """When each minute began, in seconds since 1970."""
        return [60 * (self.first + place) for place in range(len(self.minutes))]

    @property
    def known(self) -> bool:
        """Whether anything is known at all."""
        return any(minute is not None for minute in self.minutes)

    @property
    def counted(self) -> bool:
        """Whether anything was counted: where metrics are off, no process does."""
        return any(minute is not None and "seconds" in minute for minute in self.minutes)

    def rate(self, *names: str) -> Values:
        """How often a second, all these together; a name that ends with a dot is a beginning."""
        return self._each("seconds", lambda minute: _sum(minute, names) / _span(minute))

    def total(self, *names: str) -> Values:
        """How many in each minute."""
        return self._each("seconds", lambda minute: _sum(minute, names))

    def mean(self, name: str) -> Values:
        """The mean of a gauge, over the samples of all hosts."""
        return self._each(
            "samples",
            lambda minute: minute[name] / minute[f"{name}_samples"] if name in minute else None,
        )

    def most(self, name: str) -> Values:
        """The largest that a gauge was, of the worst host."""
        return self._each("samples", lambda minute: minute.get(MOST + name))

    def sum(self, name: str) -> Values:
        """What was told once a minute, of all hosts together."""
        return self._each("samples", lambda minute: minute.get(name))

    def workers(self) -> Values:
        """Web workers of all hosts; of each the mean over its samples."""
        return self._each(
            "samples",
            lambda minute: round(
                minute.get("workers", 0.0) / minute["samples"] * minute.get("hosts", 1.0)
            ),
        )

    def quantile(self, share: float, times: Times) -> Values:
        """What so many of them did not pass; None also where there was nothing to measure."""
        return self._each("seconds", lambda minute: quantile(share, _buckets(minute, times)))

    def count(self, *names: str) -> float:
        """How many in all, as far as is known."""
        return sum(_sum(minute, names) for minute in self.minutes if minute is not None)

    def quantile_of_all(self, share: float, times: Times) -> float | None:
        """What so many did not pass, of all minutes together."""
        together: Figures = {}
        for minute in self.minutes:
            add(together, minute or {})
        return quantile(share, _buckets(together, times))

    def beyond(self, bound: float, times: Times) -> float:
        """How many took longer than one of the bounds, in all."""
        return sum(
            count
            for minute in self.minutes
            for upper, count in _buckets(minute or {}, times)
            if upper > bound
        )

    def last(self, minutes: int) -> Hour:
        """Only so many minutes."""
        left = max(len(self.minutes) - minutes, 0)
        return Hour(self.first + left, self.minutes[left:])

    def _each(self, needed: str, value: Callable[[Figures], float | None]) -> Values:
        return [
            value(minute) if minute is not None and needed in minute else None
            for minute in self.minutes
        ]


def now(values: Values) -> float | None:
    """The newest that is known, if it is not an old one."""
    return next((value for value in reversed(values[-3:]) if value is not None), None)


def worst(values: Values) -> float | None:
    """The largest."""
    return max((value for value in values if value is not None), default=None)


def quantile(share: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """From counts below each bound, within the bucket in a straight line, as Prometheus does."""
    total = sum(count for _, count in buckets)
    if not total:
        return None
    left, low = share * total, 0.0
    for bound, count in buckets:
        if count and left <= count:
            # Beyond the last bound nothing is known but that it is beyond.
            return low if bound == float("inf") else low + (bound - low) * left / count
        left -= count
        low = bound if bound != float("inf") else low
    return low


def _buckets(minute: Figures, times: Times) -> list[tuple[float, float]]:
    counts = dict.fromkeys(times.bounds, 0.0)
    for name, count in minute.items():
        if name.startswith(times.beginning):
            counts[float(name.removeprefix(times.beginning))] = count
    return sorted(counts.items())


def _sum(minute: Figures, names: Sequence[str]) -> float:
    return sum(
        sum(value for key, value in minute.items() if key.startswith(name))
        if name.endswith(".")
        else minute.get(name, 0.0)
        for name in names
    )


def _span(minute: Figures) -> float:
    """Seconds of this minute that are counted: each host tells its own."""
    return max(minute["seconds"] / max(minute.get("hosts", 1.0), 1.0), 1.0)
