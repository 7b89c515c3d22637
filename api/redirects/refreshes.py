"""Reading entries again before their life ends, beside the visits."""

from __future__ import annotations

import _thread
import logging
import threading
from collections import deque
from collections.abc import Callable

from api.core.errors import Unavailable

log = logging.getLogger(__name__)

# Few, so that visitors find connections free; one that is not begun is asked for again.
_AT_ONCE = 4
_WAITING = 1_000


class Refreshes:
    """Refreshes keys that were asked for, each once at a time and only some at a time."""

    def __init__(self, refresh: Callable[[str], object]) -> None:
        self._refresh = refresh
        self._keys: set[str] = set()
        self._waiting: deque[str] = deque()
        self._running = 0
        self._lock = threading.Lock()

    def soon(self, key: str) -> None:
        """Have `key` refreshed, unless it already is to be, or too many are."""
        if key in self._keys:
            return
        with self._lock:
            if key in self._keys or len(self._keys) >= _WAITING:
                return
            self._keys.add(key)
            self._waiting.append(key)
            if self._running >= _AT_ONCE:
                return
            self._running += 1
        # Not threading.Thread, whose start() waits for the thread: under gevent others would run
        # first, in the midst of an answer.
        _thread.start_new_thread(self._work, ())

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                key = self._waiting.popleft()
            try:
                self._refresh(key)
            except Unavailable:
                pass  # of a dependency that is away the log knows already
            except Exception:
                log.exception("a cached link could not be refreshed")
            finally:
                with self._lock:
                    self._keys.discard(key)
