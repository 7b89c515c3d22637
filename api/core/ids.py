"""Slots and ids: where a link lives, and names that order by time.

An id has 63 bits: 41 of milliseconds since 2026-01-01 UTC, 10 of slot, 12 of sequence; the scheme
that Instagram published in 2012 ("Sharding & IDs at Instagram"). The id alone tells the shard, and
order by id is order by creation.
"""

from __future__ import annotations

import secrets
import threading
import time
import zlib
from datetime import UTC, datetime, timedelta

SLOTS = 1024
# Not one of them: what a shard keeps of all its slots. It never moves, and adds up over shards.
HOME_SLOT = -1
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_EPOCH_MS = int(EPOCH.timestamp() * 1000)
_MILLISECOND = timedelta(milliseconds=1)
_TIME_SHIFT = 22
_SLOT_SHIFT = 12
_SEQUENCE_MASK = 0xFFF
MAX_ID = (1 << 63) - 1
# Older than any link that anybody has.
_OLDEST_MS = (datetime(1995, 1, 1, tzinfo=UTC) - EPOCH) // _MILLISECOND
_OLD_MS = 3_600_000


def slot_of(domain: str, slug: str) -> int:
    """The slot, 0 to 1023, that owns `domain/slug`."""
    return zlib.crc32(f"{domain}/{slug}".encode()) % SLOTS


def slot_of_host(host: str) -> int:
    """The slot that keeps what is counted of a host as a whole."""
    return zlib.crc32(host.encode()) % SLOTS


def slot_of_id(identifier: int) -> int:
    """The slot that an id carries."""
    return (identifier >> _SLOT_SHIFT) & (SLOTS - 1)


def time_of_id(identifier: int) -> datetime:
    """The moment at which an id was made, to the millisecond."""
    return EPOCH + timedelta(milliseconds=identifier >> _TIME_SHIFT)


def first_id_at(moment: datetime) -> int:
    """The smallest id made at `moment` or later: a filter on time becomes a range of ids."""
    milliseconds = -((EPOCH - moment) // _MILLISECOND)  # rounded up
    return min(max(milliseconds, 0) << _TIME_SHIFT, MAX_ID)


def milliseconds_of(moment: datetime) -> int:
    """The milliseconds since the epoch of ids, rounded down; negative before it."""
    return (moment - EPOCH) // _MILLISECOND


def dated_ms(moment: datetime) -> int:
    """The time in the id of a link that was made at `moment`, maybe elsewhere and long ago.

    Ids begin in 2026. Whatever is older is put into their first hour, in its order, some minutes
    of then to a millisecond of now; so order by id stays order by creation.
    """
    milliseconds = milliseconds_of(moment)
    if milliseconds >= _OLD_MS:
        return milliseconds
    return max(milliseconds - _OLDEST_MS, 0) * _OLD_MS // (_OLD_MS - _OLDEST_MS)


def is_old(moment: datetime) -> bool:
    """Whether ids tell of a link that was made at `moment` only about when that was."""
    return milliseconds_of(moment) < _OLD_MS


def id_of(milliseconds: int, slot: int, sequence: int) -> int:
    """The id that these parts make; of the sequence its lower bits."""
    return (milliseconds << _TIME_SHIFT) | (slot << _SLOT_SHIFT) | (sequence & _SEQUENCE_MASK)


def later_id(identifier: int, milliseconds: int) -> int:
    """The same id so much later."""
    return identifier + (milliseconds << _TIME_SHIFT)


class IdGenerator:
    """Makes ids; one per process is enough.

    The sequence starts at a random number in each millisecond, so that two processes rarely meet;
    where they do, the primary key refuses the second row and its writer takes another id.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0
        self._sequence = 0
        self._left = 0

    def next_id(self, slot: int) -> int:
        """An id for `slot`, greater than every id this generator made before for it."""
        with self._lock:
            now = max(int(time.time() * 1000) - _EPOCH_MS, self._last_ms)
            if now > self._last_ms or self._left == 0:
                now = max(now, self._last_ms + 1) if self._left == 0 else now
                self._last_ms = now
                # The lower half, so that 2,048 ids always fit above the random start.
                self._sequence = secrets.randbelow(_SEQUENCE_MASK // 2 + 1)
                self._left = _SEQUENCE_MASK - self._sequence + 1
            identifier = (now << _TIME_SHIFT) | (slot << _SLOT_SHIFT) | self._sequence
            self._sequence += 1
            self._left -= 1
            return identifier


_generator = IdGenerator()
new_id = _generator.next_id
