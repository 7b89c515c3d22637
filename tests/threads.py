"""Tasks that threads do again and again while something else is tried."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self


class Threads:
    """Within its context they run; the first error of each ends it, and is in `wrong`."""

    def __init__(self, tasks: Sequence[Callable[[int], None]], pause_seconds: float) -> None:
        """A task is told how often it was done before."""
        self.wrong: list[str] = []
        self._pause_seconds = pause_seconds
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._repeat, args=(task,)) for task in tasks]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def _repeat(self, task: Callable[[int], None]) -> None:
        for number in itertools.count():
            if self._stopped.is_set():
                return
            try:
                task(number)
            except Exception as error:
                self.wrong.append(f"{task.__name__}: {error!r}")
                return
            time.sleep(self._pause_seconds)
