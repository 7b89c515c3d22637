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
from typing import Any

import orjson
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError

from api.core.breaker import redis_dependency
from api.core.copies import PREFIX
from api.core.epoch_names import names_of
from api.core.epochs import EpochWatch
from api.core.outbox import Outbox
from api.core.redis_clients import make_redis, place_of
from api.core.seldom import Seldom
from api.core.subscription import Subscription

log = logging.getLogger(__name__)
# Whoever may publish there may do so all the time.
_strange = Seldom(log, "something else than keys was published on %s")

CHANNEL = "signpost:evictions:v1"
_RETRY_SECONDS = 1.0
# Also how soon a silent connection is found dead.
_POLL_SECONDS = 5.0
# How soon what could not be sent is tried again.
_SEND_SECONDS = 1.0


class Evictions:
    """Publishes the keys of changed entries, and passes on those that others publish."""

    def __init__(self, redis_url: str | None, timeout_seconds: float) -> None:
        self._redis_url = redis_url
        self._timeout_seconds = timeout_seconds
        self._outbox = Outbox(redis_url, timeout_seconds, CHANNEL) if redis_url else None
        self._found = redis_dependency(redis_url or "")
        self._listeners: list[Callable[[Sequence[str]], None]] = []
        self._on_sync: list[Callable[[bool], None]] = []
        self._stopped = threading.Event()

    def on_evict(self, listener: Callable[[Sequence[str]], None]) -> None:
        """Call `listener` with the keys that were changed, here or in another process."""
        self._listeners.append(listener)

    def on_sync(self, listener: Callable[[bool], None]) -> None:
        """Call `listener` with whether evictions of other processes arrive at present."""
        self._on_sync.append(listener)

    def publish(self, keys: Sequence[str]) -> None:
        """Evict `keys`, of which the changes are committed, everywhere and here."""
        # Redis first: who hears of the change must not find the copy from before it there.
        if self._outbox is not None:
            self._outbox.send(keys)
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
                self._found.failed(error)
            except Exception:
                # A listener that ended here would leave entries for what they are not: fresh.
                log.exception("the eviction listener failed, and begins again")
            self._synced(False)
            self._stopped.wait(_RETRY_SECONDS)

    def _receive(self) -> None:
        url, outbox = self._redis_url, self._outbox
        assert url is not None and outbox is not None  # noqa: S101 - start() looked
        with (
            make_redis(url, self._timeout_seconds) as client,
            Subscription(
                url, self._timeout_seconds, CHANNEL, read_seconds=_POLL_SECONDS * 2
            ) as subscription,
        ):
            watch = EpochWatch(client, names_of(client, PREFIX))
            subscription.subscribe(CHANNEL)
            heard = asked = time.monotonic()
            while not self._stopped.is_set():
                message = subscription.get_message(timeout=_SEND_SECONDS)
                now = time.monotonic()
                if outbox.waits:
                    outbox.send(())
                if message is None:
                    if now - heard > 2 * _POLL_SECONDS:
                        raise TimeoutError("Redis answers no ping")
                    if now - asked > _POLL_SECONDS:
                        subscription.ping()
                        asked = now
                else:
                    heard = now
                    self._found.answered()
                    self._take(message, watch)
                if watch.look():
                    if place_of(client, CHANNEL) != subscription.node:
                        raise ConnectionLost("another node has taken over")
                    # What came from it until now may be of before.
                    self._synced(False)
                    self._synced(True)

    def _take(self, message: dict[str, Any], watch: EpochWatch) -> None:
        if message["type"] == "subscribe":
            # Before anything is fresh again that a server may have from before; and where the
            # client has connected anew by itself, something was missed.
            self._synced(False)
            watch.begin()
            assert self._outbox is not None  # noqa: S101 - as above
            self._outbox.note_answer()
            self._outbox.send(())
            self._synced(True)
        elif message["type"] == "message":
            self._evict(message["data"])

    def _evict(self, data: bytes) -> None:
        try:
            keys = orjson.loads(data)
        except orjson.JSONDecodeError:
            keys = None
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            _strange.tell(CHANNEL)
            return
        for listener in self._listeners:
            listener(keys)

    def _synced(self, synced: bool) -> None:
        for listener in self._on_sync:
            listener(synced)
