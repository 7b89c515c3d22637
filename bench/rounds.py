"""Loads contestants in turns, and sums up what was measured.

All contestants of a comparison are running while one is under load, and each round visits all of
them: what else the machine does for a while then meets all of them, not one.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from bench.contestants import Account, Contestant
from bench.usage import Memory, cpu_seconds, memory_of
from bench.wrk import Requests, Run, run

_WARM_SECONDS = 1
_MOST_WARMING = 30

# Told how many loads are done, each time some are.
Progress: TypeAlias = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured."""

    links: int
    runs: int
    seconds: int
    warm_cpu_seconds: float  # of each server, before anything counts
    connections: int
    folder: Path  # for files of the load


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A contestant in one comparison: what it is asked, and how it accounts for the answers."""

    contestant: Contestant
    requests: Requests
    account: Callable[[], Account] | None = None
    answered_before: int = 0  # that its account will hold, too

    def load(self, effort: Effort, seconds: int, *, strict: bool = False) -> Run:
        """Put one load on it."""
        return run(
            self.requests,
            port=self.contestant.port,
            process_id=self.contestant.process_id,
            cores=self.contestant.cores,
            connections=effort.connections,
            seconds=seconds,
            folder=effort.folder,
            strict=strict,
        )


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Medians of the runs of one contestant, and its account of all loads."""

    name: str
    source: str
    connections: int
    requests_per_second: float
    requests_per_cpu_second: float
    p50_ms: float
    p99_ms: float
    server_cpu: float
    load_cpu: float
    others_cpu: float
    rss_bytes: int
    pss_bytes: int
    errors: dict[str, int]
    answered: int  # warming up included
    in_flight: int  # at most: what was cut off when a load ended may have been counted
    counted: int | None
    counting_seconds: float
    runs: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def complaints(self) -> list[str]:
        """What makes these figures worthless."""
        found = [f"{self.name}: {count:,} {kind} errors" for kind, count in self.errors.items()]
        if not self.adds_up():
            found.append(f"{self.name}: {self.answered:,} answered, but {self.counted:,} counted")
        return found

    def adds_up(self) -> bool:
        """Whether all that was answered was counted, and nothing that was not asked."""
        if self.counted is None:
            return True
        return self.answered <= self.counted <= self.answered + self.in_flight


def compare(subjects: Sequence[Subject], effort: Effort, progress: Progress) -> list[Figures]:
    """Warm every subject up, then load them in turns; their figures, in order."""
    warmed = []
    for subject in subjects:
        warmed.append(_warm_up(subject, effort))
        progress(1)
    runs: list[list[Run]] = [[] for _ in subjects]
    memories = [Memory(0, 0, 0) for _ in subjects]
    for _ in range(effort.runs):
        for place, subject in enumerate(subjects):
            # Whoever keeps links for a minute has lost them all while others were measured.
            warmed[place].append(subject.load(effort, _WARM_SECONDS))
            runs[place].append(subject.load(effort, effort.seconds))
            memories[place] = memory_of(subject.contestant.process_id)
            progress(1)
    return [_sum_up(*each, effort) for each in zip(subjects, warmed, runs, memories, strict=True)]


def _warm_up(subject: Subject, effort: Effort) -> list[Run]:
    """Load it until it has worked for a while: V8 goes on compiling what is hot for seconds.

    By its own time, as on a machine that does other things too a second is not a second's work.
    """
    process_id, runs = subject.contestant.process_id, []
    enough = cpu_seconds(process_id) + effort.warm_cpu_seconds
    while not runs or (cpu_seconds(process_id) < enough and len(runs) < _MOST_WARMING):
        runs.append(subject.load(effort, _WARM_SECONDS, strict=True))
    return runs


def _sum_up(
    subject: Subject, warmed: Sequence[Run], runs: Sequence[Run], memory: Memory, effort: Effort
) -> Figures:
    errors: Counter[str] = Counter()
    for one in (*warmed, *runs):
        errors.update(one.errors)
    account = subject.account() if subject.account is not None else None
    medians = {
        name: statistics.median(getattr(one, name) for one in runs)
        for name in (
            "requests_per_second",
            "requests_per_cpu_second",
            "p50_ms",
            "p99_ms",
            "server_cpu",
            "load_cpu",
            "others_cpu",
        )
    }
    return Figures(
        name=subject.contestant.name,
        source=subject.contestant.source,
        connections=effort.connections,
        **medians,
        rss_bytes=memory.rss_bytes,
        pss_bytes=memory.pss_bytes,
        errors=dict(errors),
        answered=subject.answered_before + sum(one.requests for one in (*warmed, *runs)),
        in_flight=effort.connections * (len(warmed) + len(runs)),
        counted=account.counted if account else None,
        counting_seconds=account.seconds if account else 0.0,
        runs=[asdict(one) for one in runs],
    )
