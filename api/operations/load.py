"""How busy the web workers of this host are, for the autoscaler and for `/metrics`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.core.load import WorkerLoad, read_loads
from api.operations.autoscaling import Policy
from config.settings import Settings

# Before that a worker loads links and opens connections, which no other one would spare it.
_YOUNG_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class HostLoad:
    """The means of all workers of a host."""

    workers: int
    busy: float
    starved: float
    delay_seconds: float
    in_flight: int

    @classmethod
    def of(cls, loads: Sequence[WorkerLoad], now_ns: int) -> Self | None:
        """The means; None while no worker has told anything."""
        grown = [load for load in loads if load.age_seconds(now_ns) >= _YOUNG_SECONDS] or loads
        if not grown:
            return None
        return cls(
            workers=len(loads),
            busy=sum(load.busy_ratio for load in grown) / len(grown),
            starved=sum(load.starved_ratio for load in grown) / len(grown),
            delay_seconds=sum(load.delay_seconds(now_ns) for load in grown) / len(grown),
            in_flight=sum(load.in_flight for load in loads),
        )

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """As it is now."""
        return cls.of(read_loads(folder), time.monotonic_ns())


def policy_of(settings: Settings) -> Policy:
    """What the settings say of scaling."""
    return Policy.of(
        settings.autoscale_min_workers,
        settings.autoscale_max_workers,
        settings.autoscale_busy_percent,
        settings.autoscale_delay_seconds,
        cores=cores(),
    )


def cores() -> int:
    """Those that this process, and so the workers, may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LoadMetrics(Collector):
    """What the workers of this host tell; docs/autoscaling.md has the names."""

    def __init__(self, folder: Path, policy: Policy) -> None:
        self._folder = folder
        self._policy = policy

    def describe(self) -> list[Metric]:
        """Nothing in advance."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As it is now."""
        loads, now_ns = read_loads(self._folder), time.monotonic_ns()
        yield GaugeMetricFamily("signpost_workers", "Web workers of this host.", len(loads))
        yield from _of_each(loads)
        host = HostLoad.of(loads, now_ns)
        if host is not None:
            yield from self._of_host(host)

    def _of_host(self, host: HostLoad) -> Iterator[Metric]:
        figures = {
            "load": (
                "Work for the workers there are: 1 is as it should be, 2 wants twice as many.",
                self._policy.load(host.busy, host.delay_seconds),
            ),
            "busy_ratio": ("Mean share of the time in which a worker is not idle.", host.busy),
            "starved_ratio": ("Mean share in which a worker lacks a core.", host.starved),
            "queue_delay_seconds": ("Mean wait for a turn in the event loop.", host.delay_seconds),
            "requests_in_flight": ("Requests that are being answered.", host.in_flight),
        }
        for name, (meaning, value) in figures.items():
            yield GaugeMetricFamily(f"signpost_{name}", meaning, value)


def _of_each(loads: Sequence[WorkerLoad]) -> Iterator[Metric]:
    """What lets Prometheus choose its own span of time."""
    cpu = CounterMetricFamily(
        "signpost_worker_cpu_seconds", "CPU time of a web worker.", labels=["pid"]
    )
    starved = CounterMetricFamily(
        "signpost_worker_starved_seconds", "Time in which it lacked a core.", labels=["pid"]
    )
    delay = SummaryMetricFamily(
        "signpost_worker_loop_delay_seconds", "How late its event loop is.", labels=["pid"]
    )
    connections = GaugeMetricFamily(
        "signpost_worker_connections", "Connections of clients.", labels=["pid"]
    )
    for load in loads:
        pid, now = [str(load.pid)], load.now
        cpu.add_metric(pid, now.cpu / 1e9)
        starved.add_metric(pid, now.queued / 1e9)
        delay.add_metric(pid, now.ticks, now.delay / 1e9)
        connections.add_metric(pid, load.connections)
    yield from (cpu, starved, delay, connections)
