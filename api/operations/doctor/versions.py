"""Whether what is installed, and the servers, are of versions that this code is made for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from sqlalchemy import text

from api.core.redis_clients import cluster_of, make_redis
from api.operations.doctor.examination import for_each
from api.operations.doctor.finding import Finding, ok, warning, wrong
from api.operations.doctor.reasons import NotThere
from api.operations.doctor.subject import ASK_SECONDS, Place, Subject

_ROOT = Path(__file__).resolve().parents[3]
_LEAST_PYTHON = (3, 11)
_LEAST_POSTGRES, _LEAST_POSTGRES_TO_MOVE = 140_000, 150_000
_LEAST_REDIS, _LEAST_REDIS_CLUSTER = (6, 2), (7, 0)
_SERVER = text(
    """
    SELECT current_setting('server_version_num')::int AS number,
        current_setting('server_version') AS version,
        current_setting('wal_level') AS wal_level,
        current_setting('server_encoding') AS encoding,
        EXISTS (SELECT FROM pg_extension WHERE extname = 'plpgsql') AS has_plpgsql
    """
)
_TOLD = 5


def look_at_packages(subject: Subject) -> Iterator[Finding]:
    """Python, and what the lock says."""
    del subject
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _LEAST_PYTHON:
        yield wrong("python", version, f"Install {'.'.join(map(str, _LEAST_PYTHON))} or newer.")
    else:
        yield ok("python", version)
    lock = _ROOT / "requirements.txt"
    if not lock.exists():
        yield warning("packages", f"there is no {lock.name}", "Deploy the whole repository.")
        return
    missing, others, number = [], [], 0
    for name, locked in _locked(lock):
        number += 1
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if installed != locked:
            others.append(f"{name} {installed} (locked: {locked})")
    command = f"pip install -r {lock}"
    if missing:
        yield wrong("packages", f"not installed: {_some(missing)}", "Install the lock.", command)
    if others:
        yield warning("packages", f"of other versions: {_some(others)}", "Install it.", command)
    if not missing and not others:
        yield ok("packages", f"{number} as locked")


def look_at_databases(subject: Subject) -> Iterator[Finding]:
    """Each primary and replica."""
    places = subject.primaries()
    moves = len(places) > 1

    def of(place: Place) -> Iterator[Finding]:
        return _of_database(place, moves and not place.is_replica)

    yield from for_each(subject, [*places, *subject.replicas()], of)


def look_at_redis(subject: Subject) -> Iterator[Finding]:
    """The server, or the nodes of the cluster."""
    try:
        url = subject.connected.redis_url
    except Exception as error:
        raise NotThere(str(error)) from error
    if url is None:
        return
    client = make_redis(url, ASK_SECONDS, retries=0)
    least = _LEAST_REDIS if cluster_of(client) is None else _LEAST_REDIS_CLUSTER
    told = client.info("server")
    versions = [told] if "redis_version" in told else list(told.values())
    for one in versions:
        # Valkey tells the version of Redis that it is compatible with, too.
        name, spelled = one.get("server_name", "redis"), one["redis_version"]
        found = f"{name} {one.get(f'{name}_version', spelled)}"
        if tuple(int(part) for part in spelled.split(".")[:2]) < least:
            yield wrong("redis", found, f"Install {'.'.join(map(str, least))} or newer, or Valkey.")
        else:
            yield ok("redis", found)


def _of_database(place: Place, moves: bool) -> Iterator[Finding]:
    check = f"postgresql {place.name}"
    with place.read() as session:
        server = session.execute(_SERVER).one()
    least = _LEAST_POSTGRES_TO_MOVE if moves else _LEAST_POSTGRES
    found = server.version
    if server.number < least:
        yield wrong(check, found, f"Upgrade it: {least // 10_000} or newer is needed.")
    elif not server.has_plpgsql:
        advice = "Make the extension: triggers need it."
        yield wrong(check, f"{found}, without plpgsql", advice, "CREATE EXTENSION plpgsql")
    elif server.encoding != "UTF8":
        yield wrong(check, f"{found}, {server.encoding}", "Make the database with encoding UTF8.")
    elif moves and server.wal_level != "logical":
        advice = "Set it to logical, and restart the server, before slots are moved."
        yield warning(check, f"{found}, wal_level {server.wal_level}", advice)
    else:
        yield ok(check, found)


def _locked(lock: Path) -> Iterator[tuple[str, str]]:
    """Names and versions that this Python, on this platform, is to have."""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith(("#", " ", "-")):
            continue
        requirement = Requirement(line.rstrip("\\ "))
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement.name, next(iter(requirement.specifier)).version


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more
