"""Holds back what is the same: a failure that each request meets is told a few times a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable

_PERIOD_SECONDS = 60.0
# Of the same failure, and of all, in one period and process.
_OF_ONE, _OF_ALL = 3, 60
# Failures that are counted apart; what comes after that is held back with all the rest.
_MOST_KINDS = 1_000


class Storms:
    """How often each kind of failure was met in the running period."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock()
        self._passed = 0
        self._met: dict[Hashable, int] = {}
        self._held: dict[Hashable, int] = {}

    def pass_through(self, kind: Hashable) -> int | None:
        """How many of the same were held back since the last that passed; None for one more."""
        with self._lock:
            now = self._clock()
            if now - self._began >= _PERIOD_SECONDS:
                self._began, self._passed, self._met = now, 0, {}
            met = self._met.get(kind, 0)
            if met >= _OF_ONE or self._passed >= _OF_ALL or len(self._met) >= _MOST_KINDS:
                if kind in self._held or len(self._held) < _MOST_KINDS:
                    self._held[kind] = self._held.get(kind, 0) + 1
                return None
            self._met[kind] = met + 1
            self._passed += 1
            return self._held.pop(kind, 0)
