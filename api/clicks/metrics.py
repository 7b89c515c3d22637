"""What a consumer has counted, how fast, and how soon after the click."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.clicks.enriched import EnrichedClick
from api.clicks.ingest import Outcome
from api.core.metrics.bounds import CLICK_DELAYS
from api.core.metrics.families import Histogram, counter, gauge, histogram

_BATCH_BOUNDS = (1, 10, 100, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000)
_DURATION_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30)
# With nothing to count for so long, nothing is late.
_IDLE_SECONDS = 5.0


class IngestMeter(Collector):
    """Measures one consumer; a batch is prepared in one thread and written in another."""

    def __init__(self) -> None:
        self._clicks = self._segments = self._rejected = 0
        self._batches = Histogram(_BATCH_BOUNDS)
        self._durations = {
            ("prepare",): Histogram(_DURATION_BOUNDS),
            ("write",): Histogram(_DURATION_BOUNDS),
        }
        self._delays = Histogram(CLICK_DELAYS)
        self._lag_seconds = 0.0
        self._counted_at = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure `prepare` or `write` of a batch, however it ends."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._durations[(name,)].observe(time.perf_counter() - began)

    def note(self, outcome: Outcome) -> None:
        """A batch is written."""
        self._segments += outcome.segments
        self._rejected += len(outcome.rejected)
        self._batches.observe(outcome.clicks + outcome.repeated)

    def around(
        self, after_commit: Callable[[Sequence[EnrichedClick]], None]
    ) -> Callable[[Sequence[EnrichedClick]], None]:
        """`after_commit`, with the clicks counted of which it is told."""

        def count(clicks: Sequence[EnrichedClick]) -> None:
            self._count(clicks)
            after_commit(clicks)

        return count

    def describe(self) -> list[Metric]:
        """Nothing in advance."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As it is now."""
        for name, meaning, number in (
            ("clicks", "Clicks counted.", self._clicks),
            ("segments", "Segments counted, also those that had been before.", self._segments),
            ("rejected", "Segments that cannot be counted.", self._rejected),
        ):
            yield counter(f"signpost_ingest_{name}", meaning, {(): number})
        yield histogram("signpost_ingest_batch_clicks", "Clicks of a batch.", {(): self._batches})
        yield histogram(
            "signpost_ingest_duration_seconds",
            "To compute what a batch adds, and to write it.",
            self._durations,
            ("stage",),
        )
        yield histogram(
            "signpost_click_delay_seconds", "From a click to its count.", {(): self._delays}
        )
        busy = time.monotonic() - self._counted_at < _IDLE_SECONDS
        yield gauge(
            "signpost_ingest_lag_seconds",
            "Age of the oldest click of the last batch; 0 where there is nothing to count.",
            {(): self._lag_seconds if busy else 0.0},
            across="livemax",
        )

    def _count(self, clicks: Sequence[EnrichedClick]) -> None:
        now_ms = time.time() * 1000
        times = sorted(click.at_ms for click in clicks)
        self._clicks += len(times)
        older = len(times)
        for place, bound in enumerate(CLICK_DELAYS):
            # Those clicked before this moment waited for longer than the bound.
            before = bisect_left(times, now_ms - bound * 1000, 0, older)
            self._delays.counts[place] += older - before
            older = before
        self._delays.counts[-1] += older
        self._delays.sum += max(now_ms * len(times) - sum(times), 0.0) / 1000
        self._lag_seconds = max(now_ms - times[0], 0.0) / 1000
        self._counted_at = time.monotonic()
