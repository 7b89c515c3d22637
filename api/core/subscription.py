"""One connection to Redis that hears what is published on channels of one hash slot.

Of a cluster it is a connection to the node that owns the slot. When that is no longer so, by the
death of the node or because another has taken the slot over, the subscription ends with an error:
something may have been missed.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from redis.exceptions import ConnectionError as ConnectionLost

from api.core.redis_clients import cluster_of, make_redis
from config.redis_urls import url_at

_TYPES = {"ssubscribe": "subscribe", "smessage": "message", "sunsubscribe": "unsubscribe"}


class Subscription:
    """Used by one thread."""

    def __init__(
        self,
        url: str,
        timeout_seconds: float,
        channel: str,
        *,
        read_seconds: float,
        retries: int = 1,
    ) -> None:
        """Connect to where `channel` is.

        Raises:
            RedisError: Redis is away.
        """
        seeker = make_redis(url, timeout_seconds)
        cluster = cluster_of(seeker)
        self._sharded = cluster is not None
        self._node = ""
        if cluster is not None:
            with seeker:
                owner = cluster.owner_of(channel)
            self._node = owner.name
            url = url_at(url, owner.host, owner.port)
        self._client = make_redis(url, timeout_seconds, read_seconds=read_seconds, retries=retries)
        self._pubsub = self._client.pubsub()  # type: ignore[no-untyped-call]
        self._channels: set[bytes] = set()

    @property
    def node(self) -> str:
        """The name of the node that it is connected to; of one server nothing."""
        return self._node

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pubsub.close()
        self._client.close()

    def subscribe(self, *channels: str) -> None:
        """Hear of channels, all of one hash slot."""
        self._channels |= {channel.encode() for channel in channels}
        (self._pubsub.ssubscribe if self._sharded else self._pubsub.subscribe)(*channels)

    def unsubscribe(self, *channels: str) -> None:
        """Hear of channels no more."""
        self._channels -= {channel.encode() for channel in channels}
        (self._pubsub.sunsubscribe if self._sharded else self._pubsub.unsubscribe)(*channels)

    def ping(self) -> None:
        """Have the server say something."""
        self._pubsub.ping()

    def get_message(self, timeout: float) -> dict[str, Any] | None:
        """What was heard, as redis-py tells it of one server; None after so many seconds.

        Raises:
            RedisError: the connection, or what it was for, has ended.
        """
        message: dict[str, Any] | None = self._pubsub.get_message(timeout=timeout)
        if message is None or message["type"] not in _TYPES:
            return message
        if message["type"] == "sunsubscribe" and message["channel"] in self._channels:
            raise ConnectionLost("another node has taken over")
        return message | {"type": _TYPES[message["type"]]}
