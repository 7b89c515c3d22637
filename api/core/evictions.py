"""Telling every process that a cached entry is out of date, through Redis publish/subscribe.

Publishing fails open: the writer's own process is told directly, others hold entries only for a
bounded life, and what could not be sent is sent when Redis is back. Publish/subscribe keeps
nothing for a listener that was away, so a listener that (re)connects treats all that it holds as
out of date.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import orjson
import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from api.core.breaker import RedisBreaker
from api.core.copies import confirm_epoch, evict_copies, in_calls

log = logging.getLogger(__name__)

CHANNEL = "signpost:evictions:v1"
_RETRY_SECONDS = 1.0
# Also how soon a silent connection is found dead.
_POLL_SECONDS = 5.0
# How soon what could not be sent is tried again.
_SEND_SECONDS = 1.0
# Of keys that wait for Redis; past it the oldest are left to the life of what others hold.
_MAX_UNSENT = 100_000


class Evictions:
    """Publishes the keys of changed entries, and passes on those that others publish."""

    def __init__(self, redis_url: str | None, timeout_seconds: float) -> None:
        self._redis_url = redis_url
        self._timeout_seconds = timeout_seconds
        self._client = _client(redis_url, timeout_seconds) if redis_url else None
        self._listeners: list[Callable[[Sequence[str]], None]] = []
        self._on_sync: list[Callable[[bool], None]] = []
        self._stopped = threading.Event()
        self._breaker = RedisBreaker("evictions wait in this process")
        self._unsent: dict[str, None] = {}
        self._lock = threading.Lock()

    def on_evict(self, listener: Callable[[Sequence[str]], None]) -> None:
        """Call `listener` with the keys that were changed, here or in another process."""
        self._listeners.append(listener)

    def on_sync(self, listener: Callable[[bool], None]) -> None:
        """Call `listener` with whether evictions of other processes arrive at present."""
        self._on_sync.append(listener)

    def publish(self, keys: Sequence[str]) -> None:
        """Evict `keys`, of which the changes are committed, everywhere and here."""
        # Redis first: who hears of the change must not find the copy from before it there.
        self._send(keys)
        for listener in self._listeners:
            listener(keys)

    def start(self) -> None:
        """Listen in the background until `stop`."""
        if self._redis_url is not None:
            self._stopped.clear()
            threading.Thread(target=self._listen, name="evictions", daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        self._stopped.set()

    def _listen(self) -> None:
        while not self._stopped.is_set():
            try:
                self._receive()
            except (RedisError, OSError) as error:
                log.debug("eviction listener: %s", error)
            except Exception:
                # A listener that ended here would leave entries for what they are not: fresh.
                log.exception("the eviction listener failed, and begins again")
            self._synced(False)
            self._stopped.wait(_RETRY_SECONDS)

    def _receive(self) -> None:
        assert self._redis_url is not None  # noqa: S101 - start() looked
        client = _client(self._redis_url, self._timeout_seconds, read_seconds=_POLL_SECONDS * 2)
        pubsub = client.pubsub(ignore_subscribe_messages=False)  # type: ignore[no-untyped-call]
        with client, pubsub as subscription:
            subscription.subscribe(CHANNEL)
            heard = asked = time.monotonic()
            while not self._stopped.is_set():
                message = subscription.get_message(timeout=_SEND_SECONDS)
                now = time.monotonic()
                if self._unsent:
                    self._send(())
                if message is None:
                    if now - heard > 2 * _POLL_SECONDS:
                        raise TimeoutError("Redis answers no ping")
                    if now - asked > _POLL_SECONDS:
                        subscription.ping()
                        asked = now
                    continue
                heard = now
                if message["type"] == "subscribe":
                    # Before anything is fresh again that this server may have from before.
                    confirm_epoch(client)
                    self._breaker.note_answer()
                    self._send(())
                    self._synced(True)
                elif message["type"] == "message":
                    self._evict(message["data"])

    def _send(self, keys: Sequence[str]) -> None:
        """Send `keys`, and what could not be sent before."""
        client = self._client
        if client is None:
            return
        with self._lock:
            due = [*(self._unsent | dict.fromkeys(keys))]
            self._unsent.clear()
        for some in in_calls(due):
            message = orjson.dumps(list(some))
            sent = self._breaker.ask(lambda: _evict_everywhere(client, some, message))  # noqa: B023
            if sent is None:
                with self._lock:
                    self._unsent |= dict.fromkeys(some)
                    while len(self._unsent) > _MAX_UNSENT:
                        del self._unsent[next(iter(self._unsent))]

    def _evict(self, data: bytes) -> None:
        try:
            keys = orjson.loads(data)
        except orjson.JSONDecodeError:
            keys = None
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            log.warning("something else than keys was published on %s", CHANNEL)
            return
        for listener in self._listeners:
            listener(keys)

    def _synced(self, synced: bool) -> None:
        for listener in self._on_sync:
            listener(synced)


def _evict_everywhere(client: redis.Redis, keys: Sequence[str], message: bytes) -> bool:
    evict_copies(client, keys, CHANNEL, message)
    return True


def _client(url: str, timeout_seconds: float, read_seconds: float | None = None) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=timeout_seconds,
        socket_timeout=read_seconds or timeout_seconds,
        retry=Retry(NoBackoff(), 1),
    )
