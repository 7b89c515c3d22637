"""Hears what is published of the clicks that this process has watchers for.

One connection to Redis, only while somebody watches. What is published while it is away is lost,
so each stream is told when that begins and when it ends.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from redis.exceptions import RedisError

from api.core.breaker import redis_dependency
from api.core.seldom import Seldom
from api.core.subscription import Subscription
from api.live.hub import LiveHub
from api.live.messages import CHANNELS, Subject, channel_of, read_message, subject_of

log = logging.getLogger(__name__)
# Whoever may publish there may do so all the time.
_strange = Seldom(log, "something else than clicks was published on %r")

_RETRY_SECONDS = 0.5
# How soon a new watcher is subscribed: only this thread may use the connection.
_POLL_SECONDS = 0.1
_PING_SECONDS = 5.0


class LiveListener:
    """Feeds a hub from Redis."""

    def __init__(self, redis_url: str, timeout_seconds: float, hub: LiveHub) -> None:
        self._redis_url = redis_url
        self._timeout_seconds = timeout_seconds
        self._hub = hub
        self._needed = threading.Event()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._found = redis_dependency(redis_url)
        self._found.without("clicks are not heard of")
        hub.on_watch(self._begin)

    def stop(self) -> None:
        """Stop listening, for good."""
        self._stopped.set()
        self._needed.set()

    def _begin(self) -> None:
        """Listen; the first time, in a thread that begins here: one from before a fork is lost."""
        self._needed.set()
        with self._lock:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._listen, name="live", daemon=True)
                self._thread.start()

    def _listen(self) -> None:
        while not self._stopped.is_set():
            self._needed.wait()
            self._needed.clear()
            try:
                self._receive()
            except (RedisError, OSError) as error:
                self._found.failed(error)
            except Exception:
                # A listener that ended here would leave its watchers waiting for ever.
                log.exception("the listener for clicks failed, and begins again")
            else:
                continue
            self._hub.lose()
            self._hub.cut_off_stuck()
            self._needed.set()
            self._stopped.wait(_RETRY_SECONDS)

    def _receive(self) -> None:
        """Pass on what comes, until nobody watches any more."""
        subscribed: set[Subject] = set()
        with Subscription(
            self._redis_url,
            self._timeout_seconds,
            CHANNELS,
            read_seconds=2 * _PING_SECONDS,
            retries=0,
        ) as subscription:
            heard = pinged = time.monotonic()
            while not self._stopped.is_set():
                watched = set(self._hub.watched())
                if added := watched - subscribed:
                    subscription.subscribe(*map(channel_of, added))
                if dropped := self._hub.release(subscribed - watched):
                    subscription.unsubscribe(*map(channel_of, dropped))
                subscribed = (subscribed | watched).difference(dropped)
                if not subscribed:
                    return
                message = subscription.get_message(timeout=_POLL_SECONDS)
                now = time.monotonic()
                if message is not None:
                    heard = now
                    self._take(message)
                elif now - heard > 2 * _PING_SECONDS:
                    raise TimeoutError("Redis answers no ping")
                elif now - max(heard, pinged) > _PING_SECONDS:
                    subscription.ping()
                    pinged = now
                self._hub.cut_off_stuck()

    def _take(self, message: dict[str, Any]) -> None:
        channel = message["channel"] or b""
        subject = subject_of(channel.decode(errors="replace"))
        if subject is None:
            return
        if message["type"] == "subscribe":
            self._found.answered()
            self._hub.confirm(subject)
        elif message["type"] == "message":
            clicks = read_message(message["data"])
            if clicks is None:
                _strange.tell(channel)
            else:
                self._hub.deliver(subject, clicks)
