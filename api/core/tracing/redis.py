"""A span for each command, and each pipeline, of redis-py's clients; neither keys nor values."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import redis
from redis.client import Pipeline
from redis.cluster import ClusterPipeline, RedisCluster

from api.core.tracing.spans import CLIENT, begin, running

_SYSTEM = {"db.system.name": "redis"}


def trace_redis() -> None:
    """Have every client of this process traced; once is enough."""
    for kind in (redis.Redis, RedisCluster):
        _wrap(kind, "execute_command", _of_command)
    for pipeline in (Pipeline, ClusterPipeline):
        _wrap(pipeline, "execute", _of_pipeline)


def _of_command(client: Any, arguments: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    # Some are of two words; what follows is theirs alone.
    name = str(arguments[0]).partition(" ")[0] if arguments else "?"
    return name, _place(client) | {"db.operation.name": name}


def _of_pipeline(client: Any, _arguments: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    size = len(client.command_stack)
    return "PIPELINE", _place(client) | {
        "db.operation.name": "PIPELINE",
        "db.operation.batch.size": size,
    }


def _place(client: Any) -> dict[str, Any]:
    pool = getattr(client, "connection_pool", None)  # a cluster has one for each node
    if pool is None:
        return _SYSTEM.copy()
    options = pool.connection_kwargs
    address = options.get("host") or options.get("path", "")
    return _SYSTEM | {"server.address": address, "db.namespace": str(options.get("db", 0))}


def _wrap(
    kind: type[Any],
    name: str,
    describe: Callable[[Any, tuple[Any, ...]], tuple[str, dict[str, Any]]],
) -> None:
    run = vars(kind)[name]
    if hasattr(run, "__wrapped__"):
        return

    @functools.wraps(run)
    def traced(client: Any, *arguments: Any, **options: Any) -> Any:
        if running() is None:
            return run(client, *arguments, **options)
        title, attributes = describe(client, arguments)
        span = begin(title, CLIENT, attributes)
        if span is None:
            return run(client, *arguments, **options)
        try:
            return run(client, *arguments, **options)
        except BaseException as error:
            span.fail(error)
            raise
        finally:
            span.end()

    setattr(kind, name, traced)
