"""How the connections to each database are used in this worker process, in Prometheus' terms."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.core.database.servers import Server

_LABELS = ("pid", "database", "pool")
_GAUGES = {
    "size": "Connections that are kept.",
    "checked_out": "Connections in use.",
    "idle": "Connections that wait for use.",
    "overflow": "Open connections above the size.",
    "waiting": "Who waits for a connection.",
}


class PoolMetrics(Collector):
    """The pools of every database that this process knows: shards and replicas by their names."""

    def __init__(self, servers: Callable[[], Sequence[Server]]) -> None:
        self._servers = servers

    def describe(self) -> list[Metric]:
        """Nothing in advance."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As they are now."""
        pid = str(os.getpid())
        states = {
            (pid, server.name, use): state
            for server in self._servers()
            for use, state in server.pools().items()
        }
        for name, meaning in _GAUGES.items():
            gauge = GaugeMetricFamily(f"signpost_db_pool_{name}", meaning, labels=_LABELS)
            for labels, state in states.items():
                gauge.add_metric(labels, getattr(state, name))
            yield gauge
        exhausted = CounterMetricFamily(
            "signpost_db_pool_exhausted", "Waits for a connection in vain.", labels=_LABELS
        )
        for labels, state in states.items():
            exhausted.add_metric(labels, state.exhausted)
        yield exhausted
