"""How jobs ended, and how long they took."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.core.metrics.families import Histogram, counter, histogram
from api.core.metrics.queues import queue_families

_BOUNDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SUCCEEDED, LATER, FAILED = "succeeded", "later", "failed"


class Run:
    """One job; `outcome` is how it ended."""

    outcome = SUCCEEDED


class JobMeter(Collector):
    """Measures the jobs of one process."""

    def __init__(self) -> None:
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._durations: dict[tuple[str], Histogram] = {}
        self.queues: dict[str, tuple[int, int | None]] = {}

    @contextmanager
    def job(self, name: str) -> Iterator[Run]:
        """Measure a job."""
        run, began = Run(), time.perf_counter()
        # Also what has not happened: of what appears as one Prometheus knows no increase.
        for outcome in (SUCCEEDED, LATER, FAILED):
            self._numbers.setdefault((name, outcome), 0)
        try:
            yield run
        except BaseException:
            run.outcome = FAILED
            raise
        finally:
            self._numbers[name, run.outcome] += 1
            durations = self._durations.setdefault((name,), Histogram(_BOUNDS))
            durations.observe(time.perf_counter() - began)

    def describe(self) -> list[Metric]:
        """Nothing in advance."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As it is now."""
        numbers = dict(self._numbers)
        yield counter("signpost_jobs", "Jobs, by how they ended.", numbers, ("job", "outcome"))
        yield histogram(
            "signpost_job_duration_seconds",
            "How long a job took.",
            dict(self._durations),
            ("job",),
        )
        yield from queue_families(self.queues)
