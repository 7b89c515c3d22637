"""Measures how busy this worker process is, beside its requests: they pay nothing for it."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import gevent

from api.core.load import Counters, LoadFile, WorkerLoad

log = logging.getLogger(__name__)

_TICK_SECONDS = 0.1
_TICKS_A_WRITE = 10
_KEPT_WRITES = 6  # the rates are those of the last five seconds
# Two numbers of the kernel's scheduler: nanoseconds on a core, and ready to run without one.
_SCHEDULED = Path("/proc/self/schedstat")


class LoadReporter:
    """Times the event loop, and writes the file of this process once a second."""

    def __init__(self, folder: Path, places: int, count: Callable[[], tuple[int, int]]) -> None:
        self._file = LoadFile(folder)
        self._places = places
        self._count = count  # connections, and those of them whose request is being answered
        self._born = time.monotonic_ns()
        self._delay = self._ticks = 0
        self._counted: deque[Counters] = deque([self._counters()], maxlen=_KEPT_WRITES)
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Measure nothing any more, and take the file away."""
        self._greenlet.kill(block=False)
        self._file.close()

    def _run(self) -> None:
        failing = False
        while True:
            for _ in range(_TICKS_A_WRITE):
                self._tick()
            try:
                self.write()
                failing = False
            except OSError as error:
                # A worker whose load is not known serves all the same.
                if not failing:
                    log.warning("the load of this worker cannot be told: %s", error)
                failing = True

    def _tick(self) -> None:
        """Sleep, and note how late that ended: what became ready meanwhile waited as long."""
        gevent.get_hub().loop.update_now()
        due = time.monotonic_ns() + int(_TICK_SECONDS * 1e9)
        gevent.sleep(_TICK_SECONDS)
        self._delay += max(time.monotonic_ns() - due, 0)
        self._ticks += 1

    def write(self) -> None:
        """Tell how it is now."""
        self._counted.append(self._counters())
        connections, in_flight = self._count()
        before, now = self._counted[0], self._counted[-1]
        self._file.write(
            WorkerLoad(os.getpid(), os.getppid(), connections, in_flight, self._places, before, now)
        )

    def _counters(self) -> Counters:
        return Counters(
            time.monotonic_ns(),
            time.process_time_ns(),
            _queued_ns(),
            self._delay,
            self._ticks,
            self._born,
        )


def _queued_ns() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):  # Linux tells, others do not
        return int(_SCHEDULED.read_bytes().split()[1])
    return 0
