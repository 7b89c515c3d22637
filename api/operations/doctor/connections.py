"""Whether databases and Redis answer, how fast, over what, and as whom."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg2

from api.core.redis_clients import cluster_of, make_redis
from api.operations.doctor.examination import for_each
from api.operations.doctor.finding import Finding, ok, unknown, warning, wrong
from api.operations.doctor.reasons import NotThere, advise, explain
from api.operations.doctor.subject import ASK_SECONDS, Place, Subject

_SLOW_MS = 20.0
_TRIES = 3
_NEARLY_FULL = 0.9
_ABOUT = """
SELECT pg_is_in_recovery(), current_user,
       (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl)
"""


def look_at_databases(subject: Subject) -> Iterator[Finding]:
    """Each primary and each replica."""
    try:
        main = subject.main()
    except NotThere as error:
        yield wrong("database main", str(error), "Start it, or set DATABASE_URL.", "scripts/start")
        return
    # The directory must be asked for the others; it is told of first, even where it hangs.
    yield from _database(main)
    others = [place for place in subject.primaries() if place is not main]
    for name in subject.without_address:
        advice = f"Name it: SHARD_URLS={name}=postgresql://…"
        yield wrong(f"database {name}", "this shard has no address", advice)
    yield from for_each(subject, [*others, *subject.replicas()], _database)


def look_at_redis(subject: Subject) -> Iterator[Finding]:
    """The server, or each node of the cluster."""
    try:
        url = subject.connected.redis_url
    except Exception:
        url = subject.settings.redis_url
    if url is None:
        if subject.is_embedded:
            yield unknown("redis", "no embedded server is running")
        else:
            advice = "Set REDIS_URL, where more than one process serves."
            yield warning("redis", "none: each process has caches and limits of its own", advice)
        return
    setting = "REDIS_URL" if subject.settings.redis_url else "SIGNPOST_HOME"
    client = make_redis(url, ASK_SECONDS, retries=0)
    try:
        yield from _cluster(client) if cluster_of(client) is not None else _redis(client, url)
    except Exception as error:
        reason = explain(error)
        yield wrong("redis", reason, advise(reason, setting))


def _database(place: Place) -> Iterator[Finding]:
    check = f"database {place.name}"
    began = time.perf_counter()
    try:
        connection = psycopg2.connect(**place.server.parameters)
    except psycopg2.Error as error:
        reason = explain(error)
        yield wrong(check, reason, advise(reason, place.setting))
        return
    connect_ms = (time.perf_counter() - began) * 1000
    try:
        connection.set_session(readonly=True)
        with connection.cursor() as cursor:
            cursor.execute(_ABOUT)
            in_recovery, account, tls = cursor.fetchone()
            answer_ms = min(_time(cursor) for _ in range(_TRIES))
        host, port = connection.info.host, connection.info.port
    finally:
        connection.close()
    role = "replica" if in_recovery else "primary"
    where = host if host.startswith("/") else f"{host}:{port}"
    over = f", {tls}" if tls else ""
    found = (
        f"{role} at {where} as {account}{over}; {answer_ms:.2f} ms ({connect_ms:.0f} to connect)"
    )
    if in_recovery and not place.is_replica:
        advice = f"Name the primary in {place.setting}, or several hosts with target_session_attrs."
        yield wrong(check, found, advice)
    elif not tls and not _is_near(host):
        advice = f"Add ?sslmode=verify-full&sslrootcert=ca.pem to {place.setting}."
        yield warning(check, f"{found}; not encrypted", advice)
    elif answer_ms > _SLOW_MS:
        yield warning(check, found, "Each request asks several times: move them closer together.")
    else:
        yield ok(check, found)


def _time(cursor: Any) -> float:
    began = time.perf_counter()
    cursor.execute("SELECT 1")
    cursor.fetchone()
    return (time.perf_counter() - began) * 1000


def _redis(client: Any, url: str) -> Iterator[Finding]:
    client.ping()
    began = time.perf_counter()
    role = client.execute_command("ROLE")[0]
    answer_ms = (time.perf_counter() - began) * 1000
    host = "" if url.startswith("unix:") else client.connection_pool.connection_kwargs.get("host")
    secure = url.startswith("rediss")
    found = f"{_text(role)} at {host or 'a socket'}{', TLS' if secure else ''}; {answer_ms:.2f} ms"
    if _text(role) != "master":
        yield wrong("redis", found, "Name the primary in REDIS_URL: a replica takes no writes.")
    elif not secure and host and not _is_near(host):
        yield warning("redis", f"{found}; not encrypted", "Use rediss:// with ssl_ca_certs.")
    elif answer_ms > _SLOW_MS:
        yield warning("redis", found, "Redirects wait for it: move them closer together.")
    else:
        yield ok("redis", found)
    yield from _memory(client.info("memory"))


def _memory(told: dict[str, Any]) -> Iterator[Finding]:
    """What is full refuses writes, unless something may go."""
    most, used, policy = (told.get(it) for it in ("maxmemory", "used_memory", "maxmemory_policy"))
    if not most or not used:
        return  # no bound of its own; or a service that does not tell
    found = f"{used / 1e6:.0f} of {most / 1e6:.0f} MB, {policy}"
    if policy == "noeviction":
        advice = "Each key may go: let what was used least make room, or links cannot be shared."
        command = "CONFIG SET maxmemory-policy volatile-lru"
        judge = wrong if used > most * _NEARLY_FULL else warning
        yield judge("memory of redis", found, advice, command)
    else:
        yield ok("memory of redis", found)


def _cluster(client: Any) -> Iterator[Finding]:
    for name, run in sorted(cluster_of(client).runs().items()):  # type: ignore[union-attr]
        if run is None:
            advice = "Start this node; until then each process counts and caches what it holds."
            yield wrong(f"redis {name}", "this node of the cluster does not answer", advice)
        else:
            yield ok(f"redis {name}", "a primary of the cluster")


def _is_near(host: str) -> bool:
    return host.startswith("/") or host in ("localhost", "127.0.0.1", "::1", "")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
