"""How the connections to each database are used in a process, in Prometheus' terms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.core.database.servers import Server
from api.core.metrics.families import counter, gauge

_LABELS = ("database", "pool")
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
        states = {
            (server.name, use): state
            for server in self._servers()
            for use, state in server.pools().items()
        }
        for name, meaning in _GAUGES.items():
            values = {labels: getattr(state, name) for labels, state in states.items()}
            yield gauge(f"signpost_db_pool_{name}", meaning, values, _LABELS)
        yield counter(
            "signpost_db_pool_exhausted",
            "Waits for a connection in vain.",
            {labels: state.exhausted for labels, state in states.items()},
            _LABELS,
        )
