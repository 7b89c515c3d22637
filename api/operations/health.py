"""Whether this process lives, and whether what it needs answers: what is asked, and who needs it.

`_NEEDED_BY` decides: a process is *unready* where something is down that a service of it needs,
*degraded* where something else is, and *ready* where nothing is. docs/health.md has the same table.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from psycopg2 import ProgrammingError
from sqlalchemy import literal, select

from api.clicks.spool import Spool
from api.core.breaker import redis_dependency
from api.core.database.prepared import Command, Question
from api.core.database.replica import UNKNOWN, Replica
from api.core.database.routing import Database
from api.core.database.slot_map import MAIN
from api.core.errors import Unavailable
from api.core.redis_clients import cluster_of, make_redis, ping
from api.operations.checks import (
    BEHIND,
    DOWN,
    UP,
    Check,
    Details,
    Failing,
    History,
    Kept,
    Report,
    report_of,
    rfc3339,
)
from api.operations.startup import ask_schema
from config.redis_urls import is_cluster
from config.settings import Settings

if TYPE_CHECKING:
    from api.clicks.queue.shipper import Shipper

_NEEDED_BY: dict[str, tuple[str, ...]] = {
    "database": ("api",),  # the directory, with the first shard; or a replica of every shard
    "shard": (),  # the links of the others go on
    "replica": (),  # the primary is read in its place
    "redis": (),  # caches and limits go on in each process
    "queue": (),  # clicks wait in the spool
    "spool": ("redirect",),  # clicks are lost while it is full
    "disk": ("redirect",),  # and where nothing can be written at all
    "schema": ("api",),  # where it cannot be asked; one that is behind nobody starts on
}
_REDIS_SECONDS = 1.0
# How long it may take to find out which shards there are, before the others are asked.
_SHARDS_SECONDS = 0.5
# The revision may be read from a replica however far behind: it is asked for again.
_ANY_TIME = 0.0
_COMMAND = Command(select(literal(1).label("one")))
_QUESTION = Question(select(literal(1).label("one")))


class HealthService:
    """Asks the dependencies, all at once."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        spool: Spool | None = None,
        shipper: Shipper | None = None,
    ) -> None:
        self._settings = settings
        self._db = db
        self._spool = spool
        self._shipper = shipper
        self._history = History()
        url = settings.redis_url
        self._redis = make_redis(url, _REDIS_SECONDS) if url else None
        self._ready = Kept(lambda: report_of(self._checks(), self._history))
        self._started = Kept(self._ask_schemas)

    def ready(self) -> Report:
        """Whether requests should come here, and the state of each dependency."""
        return self._ready()

    def started(self) -> Report:
        """Whether every database has the schema that this code needs."""
        return self._started()

    def _needed(self, kind: str) -> bool:
        return any(service in self._settings.signpost_services for service in _NEEDED_BY[kind])

    def _checks(self) -> list[Check]:
        shards = self._shards()
        sets = self._db.replica_sets()
        # With replicas the links that are there can be followed, and read, while it is away.
        readable = all(any(replica.usable for replica in one.replicas) for one in sets)
        found = {one.name: one.server.found for one in sets}
        needed = self._needed("database") and not readable
        checks = [Check("database", self._ask_database, needed, found[MAIN])]
        checks += [
            Check(
                f"shard-{name}",
                partial(self._ask_shard, name),
                self._needed("shard"),
                found.get(name),
            )
            for name in shards
        ]
        checks += [
            Check(
                it.server.name,
                partial(_ask_replica, it),
                self._needed("replica"),
                None if it.state == UNKNOWN else it.server.found,
            )
            for one in sets
            for it in one.replicas
        ]
        if self._redis is not None:
            # Of a cluster each node is a dependency.
            url = self._settings.redis_url or ""
            whole = None if is_cluster(url) else redis_dependency(url)
            checks.append(Check("redis", self._ask_redis, self._needed("redis"), whole))
        if self._spool is not None:
            checks.append(Check("spool", self._ask_spool, self._needed("spool")))
            checks.append(Check("disk", self._ask_disk, self._needed("disk")))
        if self._shipper is not None:
            checks.append(Check("queue", self._ask_queue, self._needed("queue")))  # tells itself
        return checks

    def _shards(self) -> list[str]:
        """The shards beside `main`; those that are known, where the directory is away or has no
        schema yet."""
        pool = ThreadPoolExecutor(1)
        try:
            names = pool.submit(self._db.shards).result(_SHARDS_SECONDS)
        except (FutureTimeout, Unavailable, ProgrammingError):
            names = [one.name for one in self._db.replica_sets()]
        finally:
            pool.shutdown(wait=False)
        return sorted(set(names) - {MAIN})

    def _ask_database(self) -> None:
        # Not in a transaction: while reports take all connections for those, everything else goes
        # on, and whoever sent requests elsewhere would only have others fail in turn.
        with self._db.write_directory_once(noted=False) as connection:
            connection.run(_COMMAND)

    def _ask_shard(self, name: str) -> None:
        with self._db.read_shard_once(name) as connection:
            connection.ask(_QUESTION)

    def _ask_redis(self) -> Details:
        assert self._redis is not None  # noqa: S101 - asked only where there is one
        cluster = cluster_of(self._redis)
        if cluster is None:
            ping(self._redis)
            return {}
        states = {name: UP if run is not None else DOWN for name, run in cluster.runs().items()}
        members = {
            name: {"status": status, "since": self._history.since(f"redis {name}", status)}
            for name, status in sorted(states.items())
        }
        if away := [name for name, status in states.items() if status == DOWN]:
            reason = "some nodes of the cluster do not answer"
            raise Failing(reason, nodes=away, members=members)
        return {"members": members}

    def _ask_spool(self) -> Details:
        assert self._spool is not None  # noqa: S101 - asked only where there is one
        state = self._spool.state()
        details = asdict(state)
        if details.pop("full"):
            raise Failing("more clicks wait than SPOOL_MAX_BYTES allows", **details)
        return details

    def _ask_disk(self) -> Details:
        found = os.statvfs(self._settings.signpost_home)
        free = found.f_bavail * found.f_frsize
        details: Details = {"free_bytes": free}
        if free < self._settings.spool_segment_bytes:
            raise Failing("the disk of SIGNPOST_HOME is full", **details)
        if found.f_files and not found.f_favail:
            raise Failing("the disk of SIGNPOST_HOME has no place for another file", **details)
        return details

    def _ask_queue(self) -> Details:
        assert self._shipper is not None  # noqa: S101 - asked only where there is one
        state = self._shipper.state
        since = rfc3339(state.since)
        if not state.up:
            raise Failing(state.trouble or "not connected yet", since=since)
        details = {"since": since, "latency_ms": state.latency_ms}
        return details | ({"reason": state.trouble} if state.trouble else {})

    def _ask_schemas(self) -> Report:
        checks = [Check("schema", partial(self._ask_schema, MAIN), self._needed("schema"))]
        checks += [
            Check(f"schema-{name}", partial(self._ask_schema, name), required=False)
            for name in self._shards()
        ]
        usable, state = report_of(checks, self._history)
        # Whoever cannot be asked may be as it should; of one that is behind it is known.
        behind = any(each["status"] == BEHIND for each in state["checks"].values())
        if behind:
            state["status"] = "unready"
        return usable and not behind, state

    def _ask_schema(self, shard: str) -> Details:
        if shard == MAIN:
            with self._db.read_directory() as session:
                return ask_schema(session, shard)
        with self._db.read_shard(shard, since=_ANY_TIME) as session:
            return ask_schema(session, shard)


def _ask_replica(replica: Replica) -> Details:
    """How this process has found a replica lately: it is asked all the time."""
    lag = replica.lag_seconds
    details: Details = {
        "state": replica.state,
        "lag_seconds": None if lag is None else round(lag, 1),
    }
    if not replica.usable and replica.state != UNKNOWN:
        raise Failing(replica.reason or "not heard of for seconds", **details)
    return details | {"latency_ms": replica.latency_ms}
