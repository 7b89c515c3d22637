"""Copies of rows in Redis, which all processes share; and what keeps an old one from being read.

A copy must not outlive a change of its row by more than a moment, although nothing joins the two
servers in one transaction:

- *A change that follows the copy.* The writer, after its commit, puts a tombstone in place of the
  copy and publishes the change in one step; whoever hears of the change finds no copy any more.
- *A reader that is overtaken.* It reads the old row, the change commits and evicts, then the reader
  writes what it read. So a copy is written only where Redis holds the very bytes that the reader
  found before it asked the database (each copy has a nonce), and never where it found a tombstone.
  A tombstone lives longer than any reader may take from the look to the copy, so that who found
  nothing cannot come after it has gone. It lives long enough for replicas to catch up, too.
- *A Redis that forgot.* After a restart or a failover it may hold copies of before, and tombstones
  of later are lost. Copies carry an epoch, which begins with the server's `run_id` and is begun
  anew by whoever connects to another server; copies of another epoch are ignored.
- *A writer that cannot reach Redis* keeps what it has to evict and sends it later (see
  `evictions`). If it dies before, the life of the copies is the bound.

Copies are signed together with their key: what was damaged, or planted by somebody who can write
to Redis but does not know the secret key, is as good as nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import ResponseError
from redis.retry import Retry

from api.core.breaker import RedisBreaker

_PREFIX = "signpost:copies:v1:"
_EPOCH = f"{_PREFIX}epoch"
_TOMBSTONE = b"-"
_TOMBSTONE_MS = 20_000
# Half of that: neither clocks nor a slow way to Redis make it too long.
_LONGEST_READ_SECONDS = 10.0
_CONNECTIONS = 16
_PER_CALL = 1_000

_EVICT = """
for _, key in ipairs(KEYS) do redis.call('SET', key, '-', 'PX', ARGV[1]) end
return redis.call('PUBLISH', ARGV[2], ARGV[3])
"""
# Takes the place only of what was there when the row was looked for.
_KEEP = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
_BEGIN = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class Look(NamedTuple):
    """What Redis holds under a key, and what has to be still true when a copy is written."""

    body: bytes | None  # of a copy that can be believed
    left_seconds: float  # of its life; may be past
    seen: bytes
    epoch: bytes
    at: float

    @property
    def settled(self) -> bool:
        """Whether the row has not changed for longer than a replica that is read may lag.

        Where there is no tombstone none has ended lately either, unless Redis has forgotten it.
        """
        return self.seen != _TOMBSTONE and age_of(self.epoch) * 1000 > _TOMBSTONE_MS


class SharedCopies:
    """Reads and writes copies. While Redis is away there are none, and nobody waits for it."""

    def __init__(self, redis_url: str, timeout_seconds: float, secret: bytes) -> None:
        pool = redis.BlockingConnectionPool.from_url(
            redis_url,
            max_connections=_CONNECTIONS,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            # Of a connection that had ended; what takes too long is not tried again.
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,)),
        )
        self._client = redis.Redis(connection_pool=pool)
        self._keep = self._client.register_script(_KEEP)
        self._secret = hashlib.blake2b(secret, person=b"signpost copies").digest()
        self._breaker = RedisBreaker("no links are shared between processes")

    def look(self, key: str) -> Look | None:
        """What there is of `key`; None while Redis is away."""
        return self._breaker.ask(lambda: self._look(key))

    def keep(
        self, key: str, look: Look, body: bytes, life_seconds: float, stale_seconds: float
    ) -> None:
        """Keep what was read from the database after `look`, unless it was evicted meanwhile."""
        if look.seen == _TOMBSTONE or time.monotonic() - look.at > _LONGEST_READ_SECONDS:
            return
        copy = self._seal(key, look.epoch, body, life_seconds)
        kept_ms = int((life_seconds + stale_seconds) * 1000)
        self._breaker.ask(lambda: self._write(key, [look.seen, copy, kept_ms]))

    def look_each(self, keys: Sequence[str]) -> list[Look]:
        """What there is of many keys.

        Raises:
            RedisError: Redis is away.
        """
        now = time.monotonic()
        held = cast(list[bytes | None], self._client.mget([*map(_name, keys), _EPOCH]))
        epoch = held.pop() or begin_epoch(self._client)
        return [self._open(key, it or b"", epoch, now) for key, it in zip(keys, held, strict=True)]

    def keep_each(
        self,
        found: Iterable[tuple[str, Look, bytes]],
        life_seconds: float,
        stale_seconds: float,
    ) -> int:
        """Keep many; how many were not evicted meanwhile.

        Raises:
            RedisError: Redis is away.
        """
        kept_ms = int((life_seconds + stale_seconds) * 1000)
        with self._client.pipeline(transaction=False) as pipe:
            for key, look, body in found:
                if look.seen == _TOMBSTONE or time.monotonic() - look.at > _LONGEST_READ_SECONDS:
                    continue
                copy = self._seal(key, look.epoch, body, life_seconds)
                self._keep([_name(key)], [look.seen, copy, kept_ms], client=pipe)
            return sum(pipe.execute())

    def _look(self, key: str) -> Look:
        now = time.monotonic()
        held, epoch = cast(list[bytes | None], self._client.mget(_name(key), _EPOCH))
        return self._open(key, held or b"", epoch or begin_epoch(self._client), now)

    def _write(self, key: str, arguments: list[Any]) -> bool:
        try:
            self._keep([_name(key)], arguments)
        except ResponseError:
            return False  # such as a full Redis: it answers, and its copies can be read
        return True

    def _seal(self, key: str, epoch: bytes, body: bytes, life_seconds: float) -> bytes:
        until_ms = int((time.time() + life_seconds) * 1000)
        text = b"%b %b %d\n%b" % (epoch, secrets.token_hex(8).encode(), until_ms, body)
        return self._signature(key, text) + text

    def _open(self, key: str, held: bytes, epoch: bytes, at: float) -> Look:
        signature, text = held[:32], held[32:]
        if not text or not hmac.compare_digest(signature, self._signature(key, text)):
            return Look(None, 0.0, held, epoch, at)
        head, _, body = text.partition(b"\n")
        written_in, _, until_ms = head.split(b" ")
        if written_in != epoch:
            return Look(None, 0.0, held, epoch, at)
        return Look(body, int(until_ms) / 1000 - time.time(), held, epoch, at)

    def _signature(self, key: str, text: bytes) -> bytes:
        signed = b"%b\n%b" % (key.encode(), text)
        return hashlib.blake2b(signed, key=self._secret, digest_size=16).hexdigest().encode()


def evict_copies(client: redis.Redis, keys: Sequence[str], channel: str, message: bytes) -> None:
    """Bury the copies of `keys`, then publish `message`, in one step.

    Raises:
        RedisError: Redis is away.
    """
    names = list(map(_name, keys))
    try:
        client.eval(_EVICT, len(names), *names, _TOMBSTONE_MS, channel, message)
    except ResponseError:
        # A Redis that is full takes no tombstone. It takes no copy either, so that to drop the
        # old ones does.
        with client.pipeline() as pipe:
            pipe.delete(*names)
            pipe.publish(channel, message)
            pipe.execute()


def in_calls(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many keys at a time as may hold up others that ask Redis."""
    return (keys[start : start + _PER_CALL] for start in range(0, len(keys), _PER_CALL))


def confirm_epoch(client: redis.Redis, name: str = _EPOCH) -> None:
    """Begin a new epoch if this is another server, or another run of it, than in the last one.

    `name` is of the key that holds the epoch.

    Raises:
        RedisError: Redis is away.
    """
    held = cast("bytes | None", client.get(name))
    parts = (held or b"").split(b".")
    # Of an older version, an epoch does not tell when it began.
    if len(parts) != 3 or parts[0] != _run_of(client):
        begin_epoch(client, held, name)


def begin_epoch(client: redis.Redis, old: bytes | None = None, name: str = _EPOCH) -> bytes:
    """Begin an epoch in place of the `old` one; or the one that another process has begun."""
    chance, now_ms = secrets.token_hex(8).encode(), int(time.time() * 1000)
    epoch = b"%b.%b.%d" % (_run_of(client), chance, now_ms)
    if client.eval(_BEGIN, 1, name, old or b"", epoch):
        return epoch
    return cast("bytes | None", client.get(name)) or epoch


def age_of(epoch: bytes) -> float:
    """For how many seconds nothing was forgotten, by our clock; 0 for an epoch that is not told."""
    try:
        began_ms = int(epoch.split(b".")[2])
    except (IndexError, ValueError):
        return 0.0
    return time.time() - began_ms / 1000


def _run_of(client: redis.Redis) -> bytes:
    # A service that does not tell gives a new epoch with each connection: safe, if wasteful.
    told = client.info("server").get("run_id")
    return str(told or secrets.token_hex(8)).encode()


def _name(key: str) -> str:
    return _PREFIX + key
