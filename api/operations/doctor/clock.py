"""Whether this host and its servers agree about the time: ids, expiries and tokens go by it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from sqlalchemy import text

from api.core.redis_clients import cluster_of, make_redis
from api.operations.doctor.examination import for_each
from api.operations.doctor.finding import Finding, ok, warning, wrong
from api.operations.doctor.reasons import NotThere
from api.operations.doctor.subject import ASK_SECONDS, Place, Subject

# Links begin and end at moments, and ids are made of milliseconds; tokens allow for some seconds.
_SOME_SECONDS, _MANY_SECONDS = 0.5, 5.0
_NOW = text("SELECT extract(epoch FROM clock_timestamp())::float8")
_TRIES = 3
_ADVICE = "Synchronise the clocks of both hosts (NTP): links would begin and end early or late."


def look(subject: Subject) -> Iterator[Finding]:
    """Each database server, and Redis."""
    yield from for_each(subject, [*subject.primaries(), *subject.replicas()], _of_database)


def look_at_redis(subject: Subject) -> Iterator[Finding]:
    """Redis' clock; of a cluster that of each node has no part in anything."""
    try:
        url = subject.connected.redis_url
    except Exception as error:
        raise NotThere(str(error)) from error
    if url is None:
        return
    client = make_redis(url, ASK_SECONDS, retries=0)
    if cluster_of(client) is not None:
        return

    def ask() -> float:
        seconds, microseconds = client.time()
        return float(seconds) + microseconds / 1e6

    client.ping()
    yield _judge("clock of redis", ask)


def _of_database(place: Place) -> Iterator[Finding]:
    with place.read() as session:
        session.scalar(_NOW)
        yield _judge(f"clock of {place.name}", lambda: float(session.scalar(_NOW)))


def _judge(check: str, ask: Callable[[], float]) -> Finding:
    """By the quickest of some answers, which says it most exactly (as Cristian's algorithm)."""
    best_ms, offset = float("inf"), 0.0
    for _ in range(_TRIES):
        sent = time.time()
        told = ask()
        took = time.time() - sent
        if took * 1000 < best_ms:
            best_ms, offset = took * 1000, told - (sent + took / 2)
    found = f"{abs(offset) * 1000:.0f} ms {'ahead' if offset > 0 else 'behind'}"
    found += f", within {best_ms / 2:.1f} ms"
    if abs(offset) - best_ms / 2000 > _MANY_SECONDS:
        return wrong(check, found, _ADVICE, "timedatectl status")
    if abs(offset) - best_ms / 2000 > _SOME_SECONDS:
        return warning(check, found, _ADVICE, "timedatectl status")
    return ok(check, found)
