"""Which redirects get a line in the log: a share of them, by chance."""

from __future__ import annotations

import math
import random


class RedirectSample:
    """Takes each redirect with the probability `share`, whatever it took before."""

    __slots__ = ("_left", "share")

    def __init__(self, share: float) -> None:
        self.share = share
        self._left = self._next_gap()

    def takes(self) -> bool:
        """Whether this one is taken; drawn once for all up to the next that is, so that to ask
        costs a subtraction."""
        self._left -= 1
        if self._left >= 0:
            return False
        self._left = self._next_gap()
        return True

    def _next_gap(self) -> float:
        """How many are left out before the next one: geometrically distributed."""
        if self.share <= 0:
            return math.inf
        if self.share >= 1:
            return 0
        # By inversion; 1 - random() is never 0.
        return math.floor(math.log(1 - random.random()) / math.log1p(-self.share))  # nosec B311 # noqa: S311
