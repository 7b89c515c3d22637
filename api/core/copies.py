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
  of later are lost. Copies carry an epoch, which ends when another server takes the place of the
  one that they were given to (see `epochs`); copies of another epoch are ignored. Of a cluster each
  server has epochs of its own (see `epoch_names`), and the change is published when the tombstones
  are there.
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
from redis.exceptions import ClusterDownError, ResponseError

from api.core.breaker import RedisBreaker
from api.core.epoch_names import names_of
from api.core.epochs import age_of, confirm_epoch
from api.core.redis_clients import Script, make_redis, place_of

PREFIX = "signpost:copies:v1:"
_TOMBSTONE = b"-"
_TOMBSTONE_MS = 20_000
# Half of that: neither clocks nor a slow way to Redis make it too long.
_LONGEST_READ_SECONDS = 10.0
_CONNECTIONS = 16
_PER_CALL = 1_000

_EVICT = Script("""
for _, key in ipairs(KEYS) do redis.call('SET', key, '-', 'PX', ARGV[1]) end
return redis.call('PUBLISH', ARGV[2], ARGV[3])
""")
_BURY = Script("""
for _, key in ipairs(KEYS) do redis.call('SET', key, '-', 'PX', ARGV[1]) end
return #KEYS
""")
# Copies take the place only of what was there when the row was looked for. ARGV: how long they are
# kept, then of each what was there and what is to be.
_KEEP = Script("""
local kept = 0
for number, key in ipairs(KEYS) do
    if (redis.call('GET', key) or '') == ARGV[2 * number] then
        redis.call('SET', key, ARGV[2 * number + 1], 'PX', ARGV[1])
        kept = kept + 1
    end
end
return kept
""")


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
        self._client = make_redis(redis_url, timeout_seconds, connections=_CONNECTIONS)
        self._names = names_of(self._client, PREFIX)
        self._secret = hashlib.blake2b(secret, person=b"signpost copies").digest()
        self._breaker = RedisBreaker(redis_url, "no links are shared between processes")

    def look(self, key: str) -> Look | None:
        """What there is of `key`; None while Redis is away."""
        name, epoch = self._names.of(key)
        return self._breaker.ask(
            lambda: self._look(key, name, epoch), place_of(self._client, epoch)
        )

    def keep(
        self, key: str, look: Look, body: bytes, life_seconds: float, stale_seconds: float
    ) -> None:
        """Keep what was read from the database after `look`, unless it was evicted meanwhile."""
        if not _may_be_kept(look):
            return
        copy = self._seal(key, look.epoch, body, life_seconds)
        kept_ms = int((life_seconds + stale_seconds) * 1000)
        name, epoch = self._names.of(key)
        self._breaker.ask(
            lambda: self._write(name, [kept_ms, look.seen, copy]), place_of(self._client, epoch)
        )

    def look_each(self, keys: Sequence[str]) -> list[Look]:
        """What there is of many keys.

        Raises:
            RedisError: Redis is away.
        """
        looks: dict[str, Look] = {}
        now = time.monotonic()
        for name, group in self._names.grouped(keys).items():
            copies = [self._names.of(key)[0] for key in group]
            held = cast(list[bytes | None], self._client.mget([*copies, name]))
            epoch = held.pop() or confirm_epoch(self._client, name)
            for key, it in zip(group, held, strict=True):
                looks[key] = self._open(key, it or b"", epoch, now)
        return [looks[key] for key in keys]

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
        copies = {
            key: (look.seen, self._seal(key, look.epoch, body, life_seconds))
            for key, look, body in found
            if _may_be_kept(look)
        }
        kept = 0
        for group in self._names.grouped(list(copies)).values():
            names = [self._names.of(key)[0] for key in group]
            kept += _KEEP(
                self._client, names, [kept_ms, *(it for key in group for it in copies[key])]
            )
        return kept

    def _look(self, key: str, name: str, epoch_name: str) -> Look:
        now = time.monotonic()
        held, epoch = cast(list[bytes | None], self._client.mget(name, epoch_name))
        return self._open(key, held or b"", epoch or confirm_epoch(self._client, epoch_name), now)

    def _write(self, name: str, arguments: list[Any]) -> bool:
        try:
            _KEEP(self._client, [name], arguments)
        except ClusterDownError:
            raise
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
    """Bury the copies of `keys` in one server, and publish `message`, in one step.

    Raises:
        RedisError: Redis is away.
    """
    names = _names(client, keys)
    try:
        _EVICT(client, names, [_TOMBSTONE_MS, channel, message])
    except ResponseError:
        # A Redis that is full takes no tombstone. It takes no copy either, so that to drop the
        # old ones does.
        with client.pipeline() as pipe:
            pipe.delete(*names)
            pipe.publish(channel, message)
            pipe.execute()


def bury_copies(client: redis.Redis, keys: Sequence[str]) -> bool:
    """Bury the copies of keys of one group (see `epoch_names`) in a cluster.

    Raises:
        RedisError: the node that has them is away.
    """
    names = _names(client, keys)
    try:
        _BURY(client, names, [_TOMBSTONE_MS])
    except ClusterDownError:
        raise
    except ResponseError:
        client.delete(*names)  # as above
    return True


def in_calls(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many keys at a time as may hold up others that ask Redis."""
    return (keys[start : start + _PER_CALL] for start in range(0, len(keys), _PER_CALL))


def _names(client: redis.Redis, keys: Sequence[str]) -> list[str]:
    names = names_of(client, PREFIX)
    return [names.of(key)[0] for key in keys]


def _may_be_kept(look: Look) -> bool:
    """Whether what was read after a look can be no older than what was evicted since."""
    return look.seen != _TOMBSTONE and time.monotonic() - look.at <= _LONGEST_READ_SECONDS
