"""One computation for many who want the same at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Result = TypeVar("Result")

# Longer than any statement may run: whoever waits so long does the work itself.
_LONGEST_SECONDS = 30


class Flights(Generic[Result]):
    """Work in progress in this process, by key. Waiting is of the thread or greenlet only."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[Result]] = {}
        self._lock = threading.Lock()

    def run(self, key: Hashable, work: Callable[[], Result]) -> Result:
        """What `work` returns or raises: ours, or that of whoever began the same before us."""
        while True:
            with self._lock:
                flight = self._flights.get(key)
                leads = flight is None
                if flight is None:
                    flight = self._flights[key] = _Flight()
            if leads:
                return self._lead(key, flight, work)
            if not flight.done.wait(_LONGEST_SECONDS):
                return work()
            if flight.error is not None:
                raise flight.error
            if flight.results:
                return flight.results[0]
            # Who flew was killed before the end, so somebody else has to begin.

    def _lead(self, key: Hashable, flight: _Flight[Result], work: Callable[[], Result]) -> Result:
        try:
            result = work()
            flight.results.append(result)
            return result
        except Exception as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                del self._flights[key]
            flight.done.set()


class _Flight(Generic[Result]):
    __slots__ = ("done", "error", "results")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: Exception | None = None
        self.results: list[Result] = []
