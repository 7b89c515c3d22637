"""How far the write-ahead log had come when somebody last wrote, for those who read after them.

A *subject* is whose writes are to be seen: a workspace on a shard, or the directory as a whole.
Its last position is kept for a minute, in this process and for the others in Redis. A replica may
be read for a subject when it has replayed past it. Where it cannot be known what others have
written, nobody may believe a replica: while Redis is away, and for a minute after it was found
to be another server, or another run of it, than before (see `copies`: its epoch). A Redis that is
full takes no position; it takes the end of the epoch, so that there too nobody believes a replica.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from api.core.breaker import RedisBreaker
from api.core.copies import age_of, begin_epoch, confirm_epoch

_PREFIX = "signpost:positions:v1:"
# Since when no position was lost.
_EPOCH = f"{_PREFIX}epoch"
# Longer than a replica that is read at all may lag.
KEPT_SECONDS = 60.0
_SUBJECTS = 10_000
_CONNECTIONS = 16
# Of two who write at the same time the later position counts, whoever tells of it last.
_NOTE = """
local held = redis.call('GET', KEYS[1])
if held and held > ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
"""
# What a page of the log begins with, in a build of PostgreSQL with its usual page.
_PAGE_BYTES = 8192
_HEADER_BYTES = 24


def position_of(lsn: str) -> int:
    """A position that PostgreSQL tells, such as `16/B374D848`, as a number.

    Where a record ended with its page, the place of the next one is behind the header of a page
    that is not begun yet; a replica that has everything says where the old page ends.
    """
    high, _, low = lsn.partition("/")
    position = (int(high, 16) << 32) | int(low, 16)
    return position - _HEADER_BYTES if position % _PAGE_BYTES == _HEADER_BYTES else position


class Positions:
    """The positions of subjects, as all processes know them."""

    def __init__(self, redis_url: str | None, timeout_seconds: float) -> None:
        """Without Redis nobody knows what other processes write."""
        self._client = None if redis_url is None else self._connect(redis_url, timeout_seconds)
        self._breaker = RedisBreaker("primaries are read for those who wrote lately")
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._unsent: dict[str, int] = {}
        self._confirmed = False

    def note(self, subject: str, position: int) -> None:
        """Keep that `subject` wrote up to `position`; before anybody is told of what it wrote."""
        with self._lock:
            held, _ = self._known.pop(subject, (0, 0.0))
            self._known[subject] = (max(held, position), time.monotonic() + KEPT_SECONDS)
            if len(self._known) > _SUBJECTS:
                self._known.popitem(last=False)
            self._unsent[subject] = max(self._unsent.get(subject, 0), position)
        self.send()

    def find(self, subject: str) -> int | None:
        """What a replica must have replayed; 0 for anything, None where that is not known."""
        if self._client is None:
            return None
        shared = self._breaker.ask(lambda: self._find(subject))
        if shared is None:
            return None
        with self._lock:
            own, until = self._known.get(subject, (0, 0.0))
        return max(shared, own if time.monotonic() < until else 0)

    def send(self) -> None:
        """Tell the others what they have not been told yet."""
        if self._unsent and self._client is not None:
            self._breaker.ask(self._send)

    def _find(self, subject: str) -> int | None:
        client = self._client
        assert client is not None  # noqa: S101 - the caller looked
        if not self._confirmed:
            self._confirmed = True
            confirm_epoch(client, _EPOCH)
        if self._unsent:
            self._send()
        with client.pipeline(transaction=False) as pipe:
            pipe.get(_PREFIX + subject)
            pipe.get(_EPOCH)
            position, epoch = cast("list[bytes | None]", pipe.execute())
        if not self._confirmed:
            return None  # a connection was made anew on the way: it may lead to another server
        if epoch is None:
            begin_epoch(client, name=_EPOCH)
            return None
        if age_of(epoch) < KEPT_SECONDS:
            return None
        return 0 if position is None else int(position, 16)

    def _send(self) -> bool:
        client = self._client
        assert client is not None  # noqa: S101 - the callers looked
        with self._lock:
            unsent, self._unsent = self._unsent, {}
        try:
            for subject, position in list(unsent.items()):
                shown = f"{position:016x}"
                try:
                    client.eval(_NOTE, 1, _PREFIX + subject, shown, int(KEPT_SECONDS * 1000))
                except ResponseError:
                    client.delete(_EPOCH)
                del unsent[subject]
        finally:
            with self._lock:
                for subject, position in unsent.items():
                    self._unsent[subject] = max(self._unsent.get(subject, 0), position)
                while len(self._unsent) > _SUBJECTS:
                    del self._unsent[next(iter(self._unsent))]
        return True

    def _connect(self, url: str, timeout_seconds: float) -> redis.Redis:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=self._connected,
        )
        return redis.Redis(connection_pool=pool)

    def _connected(self, connection: Any) -> None:
        connection.on_connect()
        self._confirmed = False
