"""Asks servers that tell more or less in turns, and compares what a request costs each of them.

Cost is the CPU time of a server and all its threads and workers for a request: what sends spans
and writes logs is in it, and what other processes do is not. Each round has all servers in it, and
a server is compared with the one that tells nothing in the same round.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bench.arena import Arena
from bench.cores import Cores
from bench.rounds import Effort, Figures, Progress, Subject, compare
from bench.signpost import Signpost
from bench.telemetry_cost.ends import Scraper, started_receivers
from bench.telemetry_cost.layers import LAYERS, LIST, Layer
from bench.wrk import Requests


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, and the least and the most of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Sum up."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a layer costs one kind of request."""

    layer: str
    cpu_us: float  # of a request, all in all
    more_us: Spread  # than without
    share: Spread  # of a request without
    requests_per_second: float
    p99_ms: float
    spans: int
    events: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All layers, for one kind of request."""

    request: str
    costs: list[Cost]
    complaints: list[str]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measures; one kind of request after the other, with servers of its own."""

    arena: Arena
    effort: Effort
    progress: Progress

    def measure(self, request: str) -> Comparison:
        """One kind of request."""
        layers = [layer for layer in LAYERS if request in layer.asked]
        folder = self.arena.folder / request
        folder.mkdir(mode=0o711)
        with started_receivers(folder) as receivers, ExitStack() as stack:
            subjects = []
            for layer in layers:
                server = self._server(layer, request, receivers.place, folder)
                stack.callback(server.stop)
                server.start()
                subjects.append(self._subject(server, request))
            ports = [
                subject.contestant.port
                for layer, subject in zip(layers, subjects, strict=True)
                if layer.scraped
            ]
            with Scraper(ports) as scraper:
                figures = compare(subjects, self.effort, self.progress)
            counts = receivers.counts_after(layers)
        complaints = scraper.complaints()
        complaints += [complaint for one in figures for complaint in one.complaints()]
        complaints += _of_receivers(layers, counts)
        costs = _costs(layers, figures, counts)
        return Comparison(request=request, costs=costs, complaints=complaints)

    def _server(self, layer: Layer, request: str, receiver: str, folder: Path) -> Signpost:
        return Signpost(
            folder,
            Cores.for_workers(1, self.arena.available),
            self.arena.servers,
            name=layer.name,
            everywhere=self.arena.available,
            settings=layer.environ(request, receiver),
        )

    def _subject(self, server: Signpost, request: str) -> Subject:
        if request == LIST:
            headers = {"Authorization": f"Bearer {self.arena.servers.key}"}
            paths = ["/api/v1/links?limit=50"]
            return Subject(contestant=server, requests=Requests(paths=paths, headers=headers))
        server.check_redirects(self.arena.links)
        paths = [f"/{link.slug}" for link in self.arena.links]
        return Subject(contestant=server, requests=Requests.of_browser(paths))


def steps(request: str, effort: Effort) -> int:
    """How many loads a kind of request takes."""
    return sum(request in layer.asked for layer in LAYERS) * (effort.runs + 1)


def _costs(
    layers: Sequence[Layer], figures: Sequence[Figures], counts: Mapping[str, Mapping[str, int]]
) -> list[Cost]:
    rounds = [[1e6 / run["requests_per_cpu_second"] for run in one.runs] for one in figures]
    base = rounds[0]
    costs = []
    for layer, one, taken in zip(layers, figures, rounds, strict=True):
        pairs = list(zip(taken, base, strict=True))
        costs.append(
            Cost(
                layer=layer.name,
                cpu_us=statistics.median(taken),
                more_us=Spread.of([each - without for each, without in pairs]),
                share=Spread.of([each / without - 1 for each, without in pairs]),
                requests_per_second=one.requests_per_second,
                p99_ms=one.p99_ms,
                spans=counts["spans"].get(layer.slug, 0),
                events=counts["events"].get(layer.slug, 0),
            )
        )
    return costs


def _of_receivers(
    layers: Sequence[Layer], counts: Mapping[str, Mapping[str, int]]
) -> Iterator[str]:
    """Whether it was told what was to be told, and nothing else."""
    for layer in layers:
        spans = counts["spans"].get(layer.slug, 0)
        if layer.spans != (spans > 0):
            yield f"{layer.name}: {spans:,} spans were sent"
        # Nothing went wrong, so there is nothing to report.
        if events := counts["events"].get(layer.slug, 0):
            yield f"{layer.name}: {events:,} errors were reported"
