"""Lines for the log that would come by the hundred: told once in a while, with their number."""

from __future__ import annotations

import logging
import threading
import time

_EVERY_SECONDS = 10.0


class Seldom:
    """One kind of line. The first is told at once; safe for threads and greenlets."""

    def __init__(
        self, log: logging.Logger, text: str, every_seconds: float = _EVERY_SECONDS
    ) -> None:
        self._log = log
        self._text = text
        self._every_seconds = every_seconds
        self._lock = threading.Lock()
        self._next = -float("inf")
        self._untold = 0

    def tell(self, *facts: object) -> None:
        """Tell of it as a warning, unless that was done a moment ago."""
        now = time.monotonic()
        with self._lock:
            if now < self._next:
                self._untold += 1
                return
            untold, self._untold = self._untold, 0
            self._next = now + self._every_seconds
        more = f" ({untold} more since this was told last)" if untold else ""
        self._log.warning(self._text + more, *facts, extra={"untold": untold or None})
