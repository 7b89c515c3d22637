"""What this worker process knows of the replicas of its databases, as metrics."""

from __future__ import annotations

import os
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.core.database.routing import Database


class ReplicaMetrics(Collector):
    """Of each replica whether it is read and how far it is behind; and why primaries are read."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def describe(self) -> list[Metric]:
        """Nothing in advance: which databases there are is known when they are used."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As it is now; nothing where there are no replicas."""
        pid = str(os.getpid())
        labels = ["pid", "replica"]
        up = GaugeMetricFamily("signpost_replica_up", "Whether it is read.", labels=labels)
        lag = GaugeMetricFamily(
            "signpost_replica_lag_seconds", "For how long it misses something.", labels=labels
        )
        reads = CounterMetricFamily("signpost_replica_reads", "Reads of it.", labels=labels)
        ejections = CounterMetricFamily(
            "signpost_replica_ejections", "How often it was left out.", labels=labels
        )
        primary_up = GaugeMetricFamily(
            "signpost_primary_up", "Whether it answers.", labels=["pid", "shard"]
        )
        primary_reads = CounterMetricFamily(
            "signpost_primary_reads",
            "Reads that a replica could not take.",
            labels=["pid", "shard", "reason"],
        )
        for one in self._db.replica_sets():
            for replica in one.replicas:
                place = [pid, replica.server.name]
                up.add_metric(place, replica.usable)
                if (seconds := replica.lag_seconds) is not None:
                    lag.add_metric(place, seconds)
                reads.add_metric(place, replica.reads)
                ejections.add_metric(place, replica.ejections)
            if one.replicas:
                primary_up.add_metric([pid, one.name], one.primary.answers)
            for reason, number in sorted(one.to_primary.items()):
                primary_reads.add_metric([pid, one.name, reason], number)
        families = (up, lag, reads, ejections, primary_up, primary_reads)
        yield from (family for family in families if family.samples)
