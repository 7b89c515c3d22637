"""Makes every client of Redis, of one server or of a cluster, and knows where the two differ.

To a cluster each question is about one key, or about keys of one hash slot: what has to be seen
together shares a hash tag (docs/redis.md). What is published goes through the shard that owns the
channel (sharded publish/subscribe, Redis 7), so that a listener is in the place it has on one
server: whatever may have been lost, its connection has ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoScriptError
from redis.retry import Retry

from config.redis_urls import is_cluster

if TYPE_CHECKING:
    from api.core.redis_cluster import ClusterClient


def make_redis(
    url: str,
    timeout_seconds: float,
    *,
    connections: int | None = None,
    read_seconds: float | None = None,
    retries: int = 1,
    on_connect: Callable[[Any], None] | None = None,
) -> redis.Redis:
    """A client that waits for no longer than `timeout_seconds`, or for an answer `read_seconds`; it
    connects when it is used.

    With `connections` no more than so many are made (to each node), and others wait for one. What
    is done `on_connect`, to one server, has to do what redis-py does itself, too.
    """
    options: dict[str, Any] = {
        "socket_timeout": read_seconds or timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
    }
    if connections is not None:
        options |= {
            "connection_pool_class": redis.BlockingConnectionPool,
            "max_connections": connections,
            "timeout": timeout_seconds,
        }
    if is_cluster(url):
        from api.core.redis_cluster import ClusterClient  # noqa: PLC0415 - most have one server

        return cast(redis.Redis, ClusterClient(url, retries, options))
    # Of a connection that had ended; what takes too long is not tried again.
    retry = Retry(NoBackoff(), retries, supported_errors=(ConnectionLost,))
    pool_class = options.pop("connection_pool_class", redis.ConnectionPool)
    if on_connect is not None:
        options["redis_connect_func"] = on_connect
    pool = pool_class.from_url(url, retry=retry, **options)
    return redis.Redis.from_pool(pool)


def cluster_of(client: redis.Redis) -> ClusterClient | None:
    """The client, if it is that of a cluster."""
    it: Any = client
    return None if isinstance(it, redis.Redis) else cast("ClusterClient", it)


def place_of(client: redis.Redis, key: str) -> str:
    """The node that answers for `key`, as far as is known; of one server nothing."""
    cluster = cluster_of(client)
    return "" if cluster is None else cluster.place_of(key)


def publish(client: redis.Redis, channel: str, message: bytes) -> None:
    """Tell those who listen on `channel`.

    Raises:
        RedisError: Redis is away.
    """
    if cluster_of(client) is None:
        client.publish(channel, message)
    else:
        client.spublish(channel, message)


def publish_each(client: redis.Redis, messages: Sequence[tuple[str, bytes]]) -> None:
    """Tell many at once; `messages` are of channels of one hash slot.

    Raises:
        RedisError: Redis is away.
    """
    cluster = cluster_of(client)
    if cluster is not None:
        client = cluster.get_redis_connection(cluster.owner_of(messages[0][0]))
    with client.pipeline(transaction=False) as pipeline:
        for channel, message in messages:
            if cluster is None:
                pipeline.publish(channel, message)
            else:
                pipeline.spublish(channel, message)
        pipeline.execute()


def channels_of(client: redis.Redis, beginning: str) -> list[bytes | str]:
    """The channels on which somebody listens, of those of one hash slot with this beginning.

    Raises:
        RedisError: Redis is away.
    """
    pattern, cluster = f"{beginning}*", cluster_of(client)
    if cluster is None:
        return client.pubsub_channels(pattern)
    owner = cluster.get_redis_connection(cluster.owner_of(beginning))
    return owner.pubsub_shardchannels(pattern)


def ping(client: redis.Redis) -> list[str]:
    """Ask whether it is there; the names of the nodes of a cluster that do not answer.

    Raises:
        RedisError: there is no server, or no node, that answers.
    """
    cluster = cluster_of(client)
    if cluster is not None:
        return [name for name, run in cluster.runs().items() if run is None]
    client.ping()
    return []


class Script:
    """What is done in one step, in Lua."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, client: redis.Redis, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Do it, with keys of one hash slot.

        Raises:
            RedisError: Redis is away.
        """
        try:
            return client.evalsha(self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            # It is loaded where it is asked for: of a cluster not all nodes need to be there.
            return client.eval(self._text, len(keys), *keys, *arguments)
