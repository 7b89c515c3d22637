"""What the processes of this host and its spool measure, in Prometheus' text format.

Each process counts by itself and tells it in a folder; whoever is asked adds that up. What is the
same from every process (the spool, how busy the workers are) is looked at when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import api
from api.clicks.spool import Spool
from api.core.decisions import LimitDecisions
from api.core.errors import NotFound, Unauthenticated
from api.core.metrics.families import Told, counter, gauge, histogram
from api.core.metrics.files import AllProcesses
from api.core.metrics.process import ProcessMetrics
from api.core.metrics.queues import queue_families
from api.core.metrics.requests import RequestMeter
from api.core.metrics.sharing import Sharing
from api.operations.load import LoadMetrics, policy_of
from api.operations.serving import MetricsPort
from api.operations.tokens import is_token
from config.settings import Settings

if TYPE_CHECKING:
    from api.clicks.queue.shipper import Shipper


class MetricsService:
    """Counts in this process, and writes the metrics of the host for those who know the token."""

    def __init__(
        self,
        settings: Settings,
        requests: RequestMeter,
        spool: Spool,
        shipper: Shipper | None,
        decisions: LimitDecisions,
    ) -> None:
        self._token = settings.metrics_token
        self.redirects = requests.redirects
        self._process = ProcessMetrics("web")
        self._own = CollectorRegistry()
        self._sharing = Sharing(settings.metrics_path, self._own)
        for collector in (self.redirects, requests, self._process, limit_metrics(decisions)):
            self._own.register(collector)
        if shipper is not None:
            self._own.register(_shipper_metrics(shipper))
        self._host = host_registry(settings, spool)
        self._port = None
        if settings.metrics_port is not None:
            self._port = MetricsPort(
                settings.metrics_host, settings.metrics_port, self._token, self.write
            )

    def start(self) -> None:
        """Tell others what this process counts."""
        self._process.start()
        self._sharing.start()
        if self._port is not None:
            self._port.start()

    def stop(self) -> None:
        """Tell it for the last time."""
        if self._port is not None:
            self._port.stop()
        self._process.stop()
        self._sharing.stop()

    def count(self, name: str, meaning: str, read: Callable[[], int]) -> None:
        """Also tell what `read` has counted in each process."""
        self.register(Told(lambda: iter([counter(name, meaning, {(): read()})])))

    def register(self, collector: Collector) -> None:
        """Also tell what `collector` measures in each process."""
        self._own.register(collector)

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
        return self._token is not None and is_token(token, self._token)

    def write(self) -> bytes:
        """All metrics, as text."""
        # Of others it may be a second old.
        if self._sharing.tell():
            return generate_latest(self._host)
        return generate_latest(self._host) + generate_latest(self._own)


def host_registry(settings: Settings, spool: Spool) -> CollectorRegistry:
    """What is told of a host, in whichever of its processes."""
    registry = CollectorRegistry()
    registry.register(AllProcesses(settings.metrics_path))
    registry.register(LoadMetrics(settings.load_path, policy_of(settings)))
    registry.register(spool_metrics(spool))
    registry.register(Told(_build))
    return registry


def limit_metrics(decisions: LimitDecisions) -> Collector:
    """How limits were decided; what was not counted in Redis tells of its absence."""

    def tell() -> Iterator[Metric]:
        numbers = {
            (
                decided.limit,
                "allowed" if decided.allowed else "refused",
                "redis" if decided.shared else "process",
            ): number
            for decided, number in list(decisions.items())
        }
        labels = ("limit", "outcome", "counted")
        yield counter("signpost_limit_decisions", "Limits asked.", numbers, labels)

    return Told(tell)


def spool_metrics(spool: Spool) -> Collector:
    """What waits on this host."""

    def tell() -> Iterator[Metric]:
        state = spool.state()
        for name, meaning, value in (
            ("bytes", "Bytes that wait.", state.bytes),
            ("bound_bytes", "Bytes past which clicks are lost.", state.bound),
            (
                "oldest_click_age_seconds",
                "For how long the oldest sealed segment waits.",
                state.oldest_age_seconds,
            ),
        ):
            yield gauge(f"signpost_spool_{name}", meaning, {(): value})
        lost = {(): state.lost_clicks}
        yield counter("signpost_clicks_lost", "Clicks answered and not recorded.", lost)

    return Told(tell)


def _shipper_metrics(shipper: Shipper) -> Collector:
    def tell() -> Iterator[Metric]:
        state = shipper.state
        for name, meaning, value in (
            ("shipped", "Segments sent to the broker, again each time.", state.shipped),
            ("confirmed", "Segments that the broker has confirmed.", state.confirmed),
            ("refused", "Segments that the full queue refused.", state.refused),
        ):
            yield counter(f"signpost_segments_{name}", meaning, {(): value})
        up = {(): float(state.up)}
        meaning = "Whether the broker answers each web worker."
        yield gauge("signpost_broker_up", meaning, up, across="livemin")
        yield histogram(
            "signpost_ship_duration_seconds",
            "From sending a segment to the broker's confirm.",
            {(): state.durations},
        )
        yield from queue_families(state.queues)

    return Told(tell)


def _build() -> Iterator[Metric]:
    labels = ("version",)
    yield gauge("signpost_build_info", "The release that runs.", {(api.__version__,): 1.0}, labels)
