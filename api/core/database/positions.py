"""How far the write-ahead log had come when somebody last wrote, for those who read after them.

A *subject* is whose writes are to be seen: a workspace on a shard, or the directory as a whole.
Its last position is kept for a minute, in this process and for the others in Redis. A replica may
be read for a subject when it has replayed past it. Where it cannot be known what others have
written, nobody may believe a replica: while Redis is away, and for a minute after it was found
to be another server, or another run of it, than before (see `epochs`). A Redis that is
full takes no position; it takes the end of the epoch, so that there too nobody believes a replica.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar, cast

import redis
from redis.exceptions import ClusterDownError, ResponseError

from api.core.breaker import RedisBreaker
from api.core.epoch_names import names_of
from api.core.epochs import age_of, confirm_epoch
from api.core.redis_clients import Script, cluster_of, make_redis, place_of

Result = TypeVar("Result")

_PREFIX = "signpost:positions:v1:"
# Longer than a replica that is read at all may lag.
KEPT_SECONDS = 60.0
_SUBJECTS = 10_000
_CONNECTIONS = 16
# A connection that was made on the way may lead to another server than the one that was confirmed.
_TRIES = 5
# Of two who write at the same time the later position counts, whoever tells of it last.
_NOTE = Script("""
local held = redis.call('GET', KEYS[1])
if held and held > ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
""")
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
        self._client: redis.Redis | None = None
        if redis_url is not None:
            self._client = make_redis(
                redis_url,
                timeout_seconds,
                connections=_CONNECTIONS,
                retries=0,
                on_connect=self._connected,
            )
            self._names = names_of(self._client, _PREFIX)
        self._breaker = RedisBreaker(redis_url, "primaries are read for those who wrote lately")
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
        self.send()
        name, epoch = self._names.of(subject)
        shared = self._ask(name, lambda: self._find(name, epoch))
        if shared is None:
            return None
        with self._lock:
            own, until = self._known.get(subject, (0, 0.0))
        return max(shared, own if time.monotonic() < until else 0)

    def send(self) -> None:
        """Tell the others what they have not been told yet."""
        if not self._unsent or self._client is None:
            return
        with self._lock:
            unsent, self._unsent = self._unsent, {}
        left = dict(unsent)
        try:
            for subject, position in unsent.items():
                if self._tell(subject, position):
                    del left[subject]
        finally:
            with self._lock:
                for subject, position in left.items():
                    self._unsent[subject] = max(self._unsent.get(subject, 0), position)
                while len(self._unsent) > _SUBJECTS:
                    del self._unsent[next(iter(self._unsent))]

    def _find(self, name: str, epoch_name: str) -> int | None:
        client = self._client
        assert client is not None  # noqa: S101 - the caller looked
        if cluster_of(client) is None:
            position, epoch = self._read(client, name, epoch_name)
        else:
            position = cast("bytes | None", client.get(name))
            # Behind it: the node that had it may be another one since.
            epoch = confirm_epoch(client, epoch_name)
        if epoch is None or age_of(epoch) < KEPT_SECONDS:
            return None
        return 0 if position is None else int(position, 16)

    def _read(
        self, client: redis.Redis, name: str, epoch_name: str
    ) -> tuple[bytes | None, bytes | None]:
        """The position and the epoch that one server holds; no epoch where it may be another."""
        for _ in range(_TRIES):
            if not self._confirmed:
                self._confirmed = True
                confirm_epoch(client, epoch_name)
            position, epoch = cast("list[bytes | None]", client.mget(name, epoch_name))
            if self._confirmed:
                return position, epoch or confirm_epoch(client, epoch_name)
        return None, None

    def _tell(self, subject: str, position: int) -> bool:
        """Tell of one position; whether that is done."""
        client = self._client
        assert client is not None  # noqa: S101 - the caller looked
        name, epoch = self._names.of(subject)

        def tell() -> bool:
            try:
                _NOTE(client, [name], [f"{position:016x}", int(KEPT_SECONDS * 1000)])
            except ClusterDownError:
                raise
            except ResponseError:
                client.delete(epoch)
            return True

        return self._ask(name, tell) is not None

    def _ask(self, name: str, question: Callable[[], Result]) -> Result | None:
        assert self._client is not None  # noqa: S101 - the callers looked
        return self._breaker.ask(question, place_of(self._client, name))

    def _connected(self, connection: Any) -> None:
        connection.on_connect()
        self._confirmed = False
