"""Requests that Redis has let through in advance, so that a busy caller does not ask it each time.

A question to Redis costs a quarter of what a call of the API does. So a process takes some
requests at once, which are counted when they are taken: no limit is ever passed, however many
processes there are. What is not used by the end of the minute is lost, so it is kept small: twice
as many as the last time while they are used up within a second, half as many when they are not,
and never more than the share of what is left that the script allows. Near its limit a caller
asks each time.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from api.limits.counts import Asked, Counted, seconds_to_minute

_BUSY_SECONDS = 1.0
_MOST_AT_ONCE = 256
_MOST = 10_000


@dataclass(slots=True)
class _Lease:
    left: int = 0
    size: int = 1  # of the next
    taken_at: float = 0.0
    until: float = 0.0
    counted: Counted | None = None
    asking: bool = False


class Leases:
    """Of one process, by caller and by what its plan allows."""

    def __init__(self) -> None:
        self._leases: OrderedDict[tuple[object, ...], _Lease] = OrderedDict()
        self._lock = threading.Lock()

    def use(self, asked: Asked) -> bool:
        """Use up one request that was taken; False if there is none."""
        with self._lock:
            lease = self._leases.get(_key(asked))
            if lease is None or not lease.left or lease.counted is None:
                return False
            now = time.monotonic()
            if now >= lease.until:
                lease.left = 0
                return False
            lease.left -= 1
            asked.counted = _without(lease.counted, lease.left, now - lease.taken_at)
            return True

    def begin(self, asked: Asked) -> int:
        """How many to take now; the caller asks for them, and says what came of it. 0 while
        somebody else asks for more: then only for this request."""
        with self._lock:
            key = _key(asked)
            lease = self._leases.get(key)
            if lease is None:
                lease = self._leases[key] = _Lease()
                if len(self._leases) > _MOST:
                    self._leases.popitem(last=False)
            if lease.asking:
                return 0
            lease.asking = True
            busy = time.monotonic() - lease.taken_at < _BUSY_SECONDS
            lease.size = min(lease.size * 2, _MOST_AT_ONCE) if busy else max(lease.size // 2, 1)
            return lease.size

    def end(self, asked: Asked, size: int) -> None:
        """Keep what was granted beyond the request itself; nothing where it was not answered."""
        counted = asked.counted
        with self._lock:
            lease = self._leases.get(_key(asked))
            if lease is None:
                return
            if not size:
                return
            lease.asking = False
            if counted is None or not counted.granted:
                return
            now = time.monotonic()
            lease.taken_at, lease.left = now, counted.granted - 1
            lease.until = now + seconds_to_minute(counted) - 1
            lease.counted = counted
            asked.counted = _without(counted, lease.left, 0.0)


def _key(asked: Asked) -> tuple[object, ...]:
    return asked.workspace_id, asked.policy, asked.who, asked.rate, asked.quota


def _without(counted: Counted, unused: int, seconds: float) -> Counted:
    """The state in which so many that were taken are not used yet, so many seconds later."""
    return counted._replace(
        now=counted.now + seconds,
        this_minute=max(0, counted.this_minute - unused),
        calls=max(0, counted.calls - unused),
    )
