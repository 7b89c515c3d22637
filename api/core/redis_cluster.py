"""redis-py's client of a Redis Cluster, made to wait for nobody. Loaded where there is one."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import parse_url
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisClusterException, RedisError, SlotNotCoveredError
from redis.retry import Retry

from config.redis_urls import node_urls

_LEARN_SECONDS = 0.5


class ClusterClient(RedisCluster):
    """Connects when it is used, as a client of one server does; a node that is away holds up
    nobody who asks for what the others have."""

    # Of a connection that had ended; what takes too long is not tried again.
    ERRORS_ALLOW_RETRY = (ConnectionLost,)  # type: ignore[assignment]
    # How often it is sent on; half way it begins to wait for a slot that is on its way.
    RedisClusterRequestTTL = 4

    def __init__(self, url: str, retries: int, options: dict[str, Any]) -> None:
        self._urls = node_urls(url)
        self._retries = retries
        self._options = options
        self._making = threading.RLock()
        self._begun = self._made = False
        self._learned = 0.0
        self._told: Any = None

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """Ask, and be asked anew where to: errors of the cluster are those of a connection.

        Raises:
            RedisError: who has the answer is away.
        """
        try:
            self._connect()
            return super().execute_command(*args, **kwargs)  # type: ignore[no-untyped-call]
        except SlotNotCoveredError as error:
            raise ConnectionLost(str(error)) from error
        except RedisClusterException as error:
            # No node that is known is there: they may have got other addresses.
            self._begun = self._made = False
            raise ConnectionLost(str(error)) from error

    def close(self) -> None:
        """End its connections."""
        if self._made:
            super().close()

    def place_of(self, key: str) -> str:
        """The name of the node that owns `key`; nothing while no node was found."""
        if not self._made:
            return ""
        try:
            return str(self.get_node_from_key(key).name)  # type: ignore[no-untyped-call]
        except RedisClusterException:
            return ""

    def owner_of(self, key: str) -> ClusterNode:
        """The node that owns `key`, as the cluster tells now: for what nobody is redirected with.

        Raises:
            RedisError: no node was found.
        """
        self._learn()
        try:
            node: ClusterNode = self.get_node_from_key(key)  # type: ignore[no-untyped-call]
        except RedisClusterException as error:
            raise ConnectionLost(str(error)) from error
        return node

    def runs(self) -> dict[str, str | None]:
        """What each primary calls its present run (nothing: it does not tell); None of one that
        does not answer.

        Raises:
            RedisError: no node answers.
        """
        self._learn()
        return {node.name: _run_of(self.get_redis_connection(node)) for node in self._primaries()}

    def _learn(self) -> None:
        """Find out which node owns what, if that has changed."""
        if time.monotonic() - self._learned < _LEARN_SECONDS:
            return
        try:
            self._connect()
            told = self._slots()
            if told is None or told != self._told:
                self.nodes_manager.initialize()
                self._told = told
        except RedisClusterException as error:
            self._begun = self._made = False
            raise ConnectionLost(str(error)) from error
        self._learned = time.monotonic()

    def _slots(self) -> Any:
        """What the first node that answers tells of all; None where none does. Not by the client:
        of two tries it may send both to the one that is away."""
        for node in sorted(self._primaries(), key=lambda node: str(node.name)):
            with contextlib.suppress(RedisError, OSError):
                return self.get_redis_connection(node).execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
        return None

    def _primaries(self) -> list[ClusterNode]:
        return list(self.get_primaries())  # type: ignore[no-untyped-call]

    def _connect(self) -> None:
        if self._made:
            return
        with self._making:
            # Making it asks a node for its commands, which comes by here.
            if self._begun:
                return
            self._begun = True
            try:
                seeds = [_node_of(url) for url in self._urls]
                super().__init__(
                    url=self._urls[0],
                    startup_nodes=seeds[1:],
                    retry=Retry(NoBackoff(), self._retries),
                    require_full_coverage=False,
                    **self._options,
                )
                self._made = True
            finally:
                self._begun = self._made


def _node_of(url: str) -> ClusterNode:
    named = parse_url(url)  # type: ignore[no-untyped-call]
    return ClusterNode(named["host"], named.get("port", 6379))  # type: ignore[no-untyped-call]


def _run_of(client: redis.Redis) -> str | None:
    try:
        told: Any = client.info("server")
    except (RedisError, OSError):
        return None
    return str(told.get("run_id", ""))
