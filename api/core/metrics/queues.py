"""How long the queues of a broker are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import Metric

from api.core.metrics.families import gauge


def queue_families(queues: Mapping[str, tuple[int, int | None]]) -> Iterator[Metric]:
    """Of each queue what waits in it, and who takes from it; None where nobody knows."""
    waiting = {(name,): messages for name, (messages, _) in queues.items()}
    takers = {(name,): number for name, (_, number) in queues.items() if number is not None}
    for name, meaning, values in (
        ("messages", "Messages that wait in a queue.", waiting),
        ("consumers", "Who takes from a queue.", takers),
    ):
        if values:
            labels = ("queue",)
            yield gauge(f"signpost_queue_{name}", meaning, values, labels, across="livemax")
