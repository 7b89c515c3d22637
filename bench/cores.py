"""Which cores a server, the load and everything else run on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from api.core.embedded.errors import EmbeddedError

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Cores:
    """A layout: what runs where."""

    server: frozenset[int]
    load: frozenset[int]
    rest: frozenset[int]  # PostgreSQL, Valkey

    @classmethod
    def for_workers(cls, workers: int, available: Iterable[int]) -> Self:
        """A core for each worker and one for the load, as far as there are any.

        Raises:
            EmbeddedError: there is only one core.
        """
        cores = sorted(available)
        if len(cores) < 2:
            raise EmbeddedError("two cores are needed: one for the server, one for the load")
        everywhere = frozenset(cores)
        if len(cores) <= workers:
            return cls(server=everywhere, load=everywhere, rest=frozenset(cores[1:]))
        load = cores[workers]
        rest = cores[workers + 1 :] or [load]
        return cls(server=frozenset(cores[:workers]), load=frozenset([load]), rest=frozenset(rest))

    def __str__(self) -> str:
        if self.server & self.load:
            return f"server and load share cores {_names(self.server)}"
        return (
            f"server on {_names(self.server)}, load on {_names(self.load)}, "
            f"PostgreSQL and Valkey on {_names(self.rest)}"
        )


@contextmanager
def pinned(cores: Iterable[int]) -> Iterator[None]:
    """Processes that are started within this context keep to these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def busy_seconds(cores: Iterable[int]) -> float:
    """How long these cores have worked for anybody, other guests of the host included."""
    names = {f"cpu{core}" for core in cores}
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in names:
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, ticks[:8])
            total += user + nice + system + irq + softirq + steal
    return total / _TICKS


def _names(cores: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(cores)))
