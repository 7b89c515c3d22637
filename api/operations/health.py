"""Whether this process lives, and whether what it needs answers, told within a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import literal, select, text

from api.clicks.spool import Spool
from api.core.database.prepared import Command
from api.core.database.replica import UNKNOWN, Replica
from api.core.database.routing import Database
from api.core.redis_clients import make_redis, ping

if TYPE_CHECKING:
    from api.clicks.queue.shipper import Shipper

_DEADLINE_SECONDS = 2.0
# Anybody may ask, without a credential, and each question takes a connection to the database.
_KEPT_SECONDS = 1.0
# Who waits for a start or a recovery learns of it soon.
_KEPT_BAD_SECONDS = 0.1
_REDIS_SECONDS = 1.0
_ONE = Command(select(literal(1).label("one")))
_SCHEMA = text(
    "SELECT to_regclass('alembic_version_directory') IS NOT NULL"
    " AND to_regclass('alembic_version_shard') IS NOT NULL"
)


Details = dict[str, Any]
Report = tuple[bool, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Check:
    """One dependency: what asks it and may tell more, and whether the process is of use without."""

    name: str
    ask: Callable[[], Details | None]
    required: bool


class _Failing(Exception):
    """A dependency fails, and it is known how."""

    def __init__(self, reason: str, **details: Any) -> None:
        super().__init__(reason)
        self.details = {"reason": reason} | details


class HealthService:
    """Asks the dependencies, all at once."""

    def __init__(
        self,
        db: Database,
        redis_url: str | None,
        spool: Spool | None,
        shipper: Shipper | None = None,
    ) -> None:
        self._db = db
        self._spool = spool
        self._shipper = shipper
        self._redis = make_redis(redis_url, _REDIS_SECONDS) if redis_url else None
        self._ready = _Kept(self._ask_all)
        self._started = _Kept(lambda: _report([Check("schema", self._ask_schema, required=True)]))

    def ready(self) -> Report:
        """Whether requests should come here, and the state of each dependency.

        Redis away is degraded, not unready: caches and limits go on in the process. So is the
        broker: clicks wait in the spool, until that is full. So is a replica, and the primary
        where there is a replica: links that are there can be followed.
        """
        return self._ready()

    def started(self) -> Report:
        """Whether the schema is there."""
        return self._started()

    def _ask_all(self) -> Report:
        sets = self._db.replica_sets()
        replicas = [replica for one in sets for replica in one.replicas]
        # With replicas the links that are there can be followed, and read, while it is away.
        readable = bool(replicas) and all(
            any(replica.usable for replica in one.replicas) for one in sets
        )
        checks = [Check("database", self._ask_database, required=not readable)]
        checks += [Check(it.server.name, partial(_ask_replica, it), False) for it in replicas]
        if self._redis is not None:
            checks.append(Check("redis", self._ask_redis, required=False))
        if self._spool is not None:
            checks.append(Check("spool", self._ask_spool, required=True))
        if self._shipper is not None:
            checks.append(Check("queue", self._ask_queue, required=False))
        return _report(checks)

    def _ask_database(self) -> None:
        # Not in a transaction: while reports take all connections for those, everything else goes
        # on, and whoever sent requests elsewhere would only have others fail in turn.
        with self._db.write_directory_once(noted=False) as connection:
            connection.run(_ONE)

    def _ask_schema(self) -> None:
        with self._db.read_directory() as session:
            if not session.execute(_SCHEMA).scalar_one():
                raise LookupError("the migrations have not run")

    def _ask_redis(self) -> None:
        assert self._redis is not None  # noqa: S101 - asked only where there is one
        away = ping(self._redis)
        if away:
            raise _Failing("some nodes of the cluster do not answer", nodes=away)

    def _ask_spool(self) -> Details:
        assert self._spool is not None  # noqa: S101 - asked only where there is one
        state = self._spool.state()
        details = asdict(state)
        if details.pop("full"):
            raise _Failing("more clicks wait than SPOOL_MAX_BYTES allows", **details)
        return details

    def _ask_queue(self) -> Details:
        assert self._shipper is not None  # noqa: S101 - asked only where there is one
        state = self._shipper.state
        since = datetime.fromtimestamp(state.since, UTC).isoformat(timespec="seconds")
        if not state.up:
            raise _Failing(state.trouble or "not connected yet", since=since)
        return {"since": since} | ({"reason": state.trouble} if state.trouble else {})


def _ask_replica(replica: Replica) -> Details:
    """How this process has found a replica lately: it is asked all the time."""
    lag = replica.lag_seconds
    details = {"state": replica.state, "lag_seconds": None if lag is None else round(lag, 1)}
    if not replica.usable and replica.state != UNKNOWN:
        raise _Failing(replica.reason or "not heard of for seconds", **details)
    return details


class _Kept:
    """A report that is made at most once in a while, however many ask for it."""

    def __init__(self, make: Callable[[], Report]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._until = 0.0

    def __call__(self) -> Report:
        with self._lock:
            if time.monotonic() >= self._until:
                self._report = self._make()
                seconds = _KEPT_SECONDS if self._report[0] else _KEPT_BAD_SECONDS
                self._until = time.monotonic() + seconds
            return self._report


def _report(checks: list[Check]) -> Report:
    # Threads of a pool that is not waited for: a dependency that hangs must not hang the answer.
    pool = ThreadPoolExecutor(max_workers=len(checks))
    started = time.monotonic()
    futures = [(check, pool.submit(_timed, check.ask)) for check in checks]
    states: dict[str, Any] = {}
    for check, future in futures:
        left = max(0.0, started + _DEADLINE_SECONDS - time.monotonic())
        try:
            latency_ms, details = future.result(timeout=left)
            states[check.name] = {"status": "up", "latency_ms": latency_ms} | details
        except FutureTimeout:
            states[check.name] = {"status": "down", "reason": "no answer in time"}
        except _Failing as failing:
            states[check.name] = {"status": "down"} | failing.details
        except Exception as error:
            states[check.name] = {"status": "down", "reason": type(error).__name__}
    pool.shutdown(wait=False, cancel_futures=True)
    down = [check for check in checks if states[check.name]["status"] == "down"]
    usable = not any(check.required for check in down)
    status = "ready" if not down else "degraded" if usable else "unready"
    return usable, {"status": status, "checks": states}


def _timed(ask: Callable[[], Details | None]) -> tuple[float, Details]:
    started = time.perf_counter()
    details = ask() or {}
    return round((time.perf_counter() - started) * 1000, 2), details
