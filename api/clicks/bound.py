"""The bound on what waits in the spool folder, measured now and then, not at each click."""

from __future__ import annotations

import logging
import time

from api.clicks.folder import SpoolFolder

log = logging.getLogger(__name__)

_EVERY_SECONDS = 1.0
# With very many files a measure takes a while; it shall take no more than this part of the time.
_MOST_TIME = 0.02
# Below the bound by so much, clicks are recorded again: otherwise it would change at each one.
_ROOM_AGAIN = 0.9


class SpoolBound:
    """Tells by `full`, a plain attribute for the hot path, whether more clicks have no room.

    It is soft: between two measures each process may write on.
    """

    def __init__(self, folder: SpoolFolder, max_bytes: int) -> None:
        self.full = False
        self.max_bytes = max_bytes
        self._folder = folder
        self._due = 0.0

    def measure_if_due(self) -> None:
        """Measure, unless that was done a moment ago."""
        started = time.monotonic()
        if started < self._due:
            return
        try:
            waiting = self._folder.size_bytes()
        except OSError as error:
            log.warning("the spool cannot be measured: %s", error)
        else:
            self.full = waiting > self.max_bytes * (_ROOM_AGAIN if self.full else 1)
        now = time.monotonic()
        self._due = now + max(_EVERY_SECONDS, (now - started) / _MOST_TIME)
