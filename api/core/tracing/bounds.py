"""How many traces a second are kept for a reason that others bring about."""

from __future__ import annotations

import time


class Bound:
    """So many a second and no more, in this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = self._taken = 0

    def takes(self) -> bool:
        """Whether there is room for one more, which is counted."""
        self._look()
        self._taken += 1
        return self._taken <= self._most

    def is_exhausted(self) -> bool:
        """Whether there is none."""
        self._look()
        return self._taken >= self._most

    def _look(self) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._taken = second, 0
