"""What every process tells of itself: its memory, its dependencies, how loud its log is."""

from __future__ import annotations

import logging
import os
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.core.dependencies import dependencies
from api.core.metrics.families import counter, gauge

_STATM = Path("/proc/self/statm")


class ProcessMetrics(Collector):
    """Of one process; `kind` is its name in the Procfile."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._lines = LogLines()

    def start(self) -> None:
        """Begin to count log lines."""
        root = logging.getLogger()
        if self._lines not in root.handlers:
            root.addHandler(self._lines)

    def stop(self) -> None:
        """Count no more of them."""
        logging.getLogger().removeHandler(self._lines)

    def describe(self) -> list[Metric]:
        """Nothing in advance."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As it is now."""
        yield gauge(
            "signpost_process_resident_memory_bytes",
            "Resident memory of a process.",
            {(self._kind,): resident_bytes()},
            ("process",),
            across="liveall",
        )
        # Several may have one name, such as the nodes of a cluster.
        up: dict[tuple[str], float] = {}
        for state in dependencies.states():
            up[state.name,] = min(up.get((state.name,), 1.0), float(state.up))
        yield gauge(
            "signpost_dependency_up",
            "Whether a dependency answers, as the process sees it that is worst off.",
            up,
            ("dependency",),
            across="livemin",
        )
        yield counter(
            "signpost_log_lines",
            "Log lines of warnings and worse.",
            {(level,): number for level, number in list(self._lines.numbers.items())},
            ("level",),
        )


class LogLines(logging.Handler):
    """Counts lines by their level, and writes none."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.numbers: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        self.numbers[record.levelname.lower()] += 1


def resident_bytes() -> float:
    """Resident memory of this process; where nothing tells it, the most that it ever had."""
    try:
        pages = int(_STATM.read_bytes().split()[1])
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
