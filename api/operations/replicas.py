"""What a process knows of the replicas of its databases, as metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.core.database.replica import Replica
from api.core.database.routing import Database
from api.core.metrics.families import counter, gauge


class ReplicaMetrics(Collector):
    """Of each replica whether it is read and how far it is behind; and why primaries are read."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def describe(self) -> list[Metric]:
        """Nothing in advance: which databases there are is known when they are used."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As it is now; nothing where there are no replicas."""
        sets = self._db.replica_sets()
        replicas = [replica for one in sets for replica in one.replicas]
        by_name = {(replica.server.name,): replica for replica in replicas}
        if by_name:
            yield from _of_replicas(by_name)
        primaries = {(one.name,): float(one.primary.answers) for one in sets if one.replicas}
        if primaries:
            meaning = "Whether it answers."
            yield gauge("signpost_primary_up", meaning, primaries, ("shard",), across="livemin")
        reads = {
            (one.name, reason): number
            for one in sets
            for reason, number in sorted(one.to_primary.items())
        }
        if reads:
            meaning = "Reads that a replica could not take."
            yield counter("signpost_primary_reads", meaning, reads, ("shard", "reason"))


def _of_replicas(replicas: Mapping[tuple[str], Replica]) -> Iterator[Metric]:
    labels = ("replica",)
    up = {name: float(it.usable) for name, it in replicas.items()}
    yield gauge("signpost_replica_up", "Whether it is read.", up, labels, across="livemin")
    lag = {name: it.lag_seconds for name, it in replicas.items()}
    yield gauge(
        "signpost_replica_lag_seconds",
        "For how long it misses something.",
        {name: seconds for name, seconds in lag.items() if seconds is not None},
        labels,
        across="livemax",
    )
    reads = {name: it.reads for name, it in replicas.items()}
    yield counter("signpost_replica_reads", "Reads of it.", reads, labels)
    ejections = {name: it.ejections for name, it in replicas.items()}
    yield counter("signpost_replica_ejections", "How often it was left out.", ejections, labels)
