"""How often gunicorn's master started web workers, and how they ended."""

from __future__ import annotations

import logging
import mmap
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from api.core.metrics.families import Told, counter
from api.core.metrics.files import MetricFiles, clear_all, clear_dead

log = logging.getLogger(__name__)

# The master gave it up; somebody else killed it, or it crashed; it ended in order.
TIMEOUT, KILLED, ENDED = "timeout", "killed", "ended"


class WorkerCounts:
    """Counts in the master, and tells it at each change: the master does nothing beside."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._starts = 0
        # Each is told before it happens: of what appears as one Prometheus knows no increase.
        self._exits = Counter({(reason,): 0 for reason in (TIMEOUT, KILLED, ENDED)})
        registry = CollectorRegistry()
        registry.register(Told(self._tell))
        self._files = MetricFiles(folder, registry)
        self._open = False

    def begin(self) -> None:
        """The master starts: where no process counts, the counts begin anew."""
        try:
            clear_all(self._folder)
            self._files.open()
        except OSError as error:
            log.warning("starts and ends of workers are told to nobody: %s", error)
        else:
            self._open = True

    def starts(self, worker: Any) -> None:
        """A worker is about to be forked; it notes in memory that both share how it ends."""
        worker.ended_in_order = mmap.mmap(-1, 1)
        self._starts += 1
        self._write()

    def ended(self, worker: Any) -> None:
        """A worker is gone."""
        in_order = worker.ended_in_order[0]
        worker.ended_in_order.close()
        reason = TIMEOUT if worker.aborted else ENDED if in_order else KILLED
        self._exits[(reason,)] += 1
        if self._open:
            try:
                clear_dead(self._folder)
            except OSError as error:
                log.warning("what a worker had counted cannot be kept: %s", error)
        self._write()

    def end(self) -> None:
        """The master ends."""
        if self._open:
            self._files.close()
            self._open = False

    def _write(self) -> None:
        if self._open:
            try:
                self._files.write()
            except OSError as error:
                log.warning("starts and ends of workers cannot be told: %s", error)

    def _tell(self) -> Iterator[Metric]:
        yield counter("signpost_worker_starts", "Web workers started.", {(): self._starts})
        exits = dict(self._exits)
        meaning = "Web workers that ended, by how."
        yield counter("signpost_worker_exits", meaning, exits, ("reason",))


# A master reads its settings again at each SIGHUP, and goes on counting.
worker_counts = cache(WorkerCounts)


def note_end(worker: Any) -> None:
    """In a worker: it ends in order."""
    worker.ended_in_order[0] = 1
