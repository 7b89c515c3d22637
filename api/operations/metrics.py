"""What this process and its spool measure, in Prometheus' text format, computed when asked.

Figures of the spool, and of how busy the workers are, are those of a folder, the same from every
worker of a host. Those of the shipper and of limits are of one worker process, which the label
`pid` names: a scrape reaches one of them.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.clicks.spool import Spool
from api.core.decisions import LimitDecisions
from api.core.errors import NotFound, Unauthenticated

if TYPE_CHECKING:
    from api.clicks.queue.shipper import Shipper


class MetricsService:
    """Writes the metrics, for those who know the token."""

    def __init__(
        self,
        token: str | None,
        spool: Spool,
        shipper: Shipper | None,
        decisions: LimitDecisions,
    ) -> None:
        self._token = token
        self._registry = CollectorRegistry()
        self._registry.register(_ClickPipeline(spool, shipper))
        self._registry.register(_Limits(decisions))

    def count(self, name: str, meaning: str, read: Callable[[], int]) -> None:
        """Also tell what `read` has counted in this worker process."""
        self._registry.register(_Counter(name, meaning, read))

    def register(self, collector: Collector) -> None:
        """Also tell what `collector` measures."""
        self._registry.register(collector)

    def check(self, token: str | None) -> None:
        """Let nobody else look.

        Raises:
            NotFound: this installation serves no metrics.
            Unauthenticated: it is not the token.
        """
        if self._token is None:
            raise NotFound("Metrics are served where METRICS_TOKEN is set.")
        if not self.knows(token):
            raise Unauthenticated("The token of METRICS_TOKEN is needed.")

    def knows(self, token: str | None) -> bool:
        """Whether who brings this token may see how the installation is."""
        if self._token is None:
            return False
        return hmac.compare_digest((token or "").encode(), self._token.encode())

    def write(self) -> bytes:
        """All metrics, as text."""
        return generate_latest(self._registry)


class _Counter(Collector):
    def __init__(self, name: str, meaning: str, read: Callable[[], int]) -> None:
        self._name = name
        self._meaning = meaning
        self._read = read

    def describe(self) -> list[Metric]:
        """Nothing in advance."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As it is now."""
        family = CounterMetricFamily(self._name, self._meaning, labels=["pid"])
        family.add_metric([str(os.getpid())], self._read())
        yield family


class _Limits(Collector):
    """Decisions about limits, of this worker process."""

    def __init__(self, decisions: LimitDecisions) -> None:
        self._decisions = decisions

    def describe(self) -> list[Metric]:
        """Nothing in advance."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As they are now; those that were not counted in Redis tell of its absence."""
        labels = ["pid", "limit", "outcome", "counted"]
        family = CounterMetricFamily("signpost_limit_decisions", "Limits asked.", labels=labels)
        for decided, number in sorted(self._decisions.items()):
            outcome = "allowed" if decided.allowed else "refused"
            place = "redis" if decided.shared else "process"
            family.add_metric([str(os.getpid()), decided.limit, outcome, place], number)
        yield family


class _ClickPipeline(Collector):
    def __init__(self, spool: Spool, shipper: Shipper | None) -> None:
        self._spool = spool
        self._shipper = shipper

    def describe(self) -> list[Metric]:
        """Nothing in advance: to ask would be to measure."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Measure now."""
        state = self._spool.state()
        yield GaugeMetricFamily("signpost_spool_bytes", "Bytes that wait.", state.bytes)
        yield GaugeMetricFamily(
            "signpost_spool_bound_bytes", "Bytes past which clicks are lost.", state.bound
        )
        yield GaugeMetricFamily(
            "signpost_spool_oldest_click_age_seconds",
            "For how long the oldest sealed segment waits.",
            state.oldest_age_seconds,
        )
        yield CounterMetricFamily(
            "signpost_clicks_lost", "Clicks answered and not recorded.", state.lost_clicks
        )
        if self._shipper is not None:
            yield from self._of_shipper(self._shipper)

    def _of_shipper(self, shipper: Shipper) -> Iterator[Metric]:
        state = shipper.state
        pid = [str(os.getpid())]
        figures = {
            "shipped": ("Segments sent to the broker, again each time.", state.shipped),
            "confirmed": ("Segments that the broker has confirmed.", state.confirmed),
            "refused": ("Segments that the full queue refused.", state.refused),
        }
        for name, (meaning, value) in figures.items():
            counter = CounterMetricFamily(f"signpost_segments_{name}", meaning, labels=["pid"])
            counter.add_metric(pid, value)
            yield counter
        up = GaugeMetricFamily("signpost_broker_up", "Whether the broker answers.", labels=["pid"])
        up.add_metric(pid, state.up)
        yield up
