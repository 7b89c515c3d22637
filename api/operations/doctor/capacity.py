"""Whether the database servers allow as many connections as the processes may open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from api.core.database.capacity import ask_allowance, by_server
from api.core.database.demand import demand_of
from api.operations.doctor.examination import for_each
from api.operations.doctor.finding import Finding, ok, warning
from api.operations.doctor.subject import Place, Subject


def look(subject: Subject) -> Iterator[Finding]:
    """Each server once, however many databases are on it."""
    if subject.settings.db_pgbouncer:
        yield ok("connections", "PgBouncer keeps them, as DB_PGBOUNCER says")
        return
    places = {place.server.name: place for place in subject.primaries() + subject.replicas()}
    groups = by_server(place.server for place in places.values()).values()
    yield from for_each(
        subject,
        [[places[server.name] for server in group] for group in groups],
        lambda databases: _of_server(subject, databases),
        lambda databases: ", ".join(map(str, databases)),
    )


def _of_server(subject: Subject, databases: list[Place]) -> Iterator[Finding]:
    names = ", ".join(map(str, databases))
    check = f"connections of {names}"
    with databases[0].server.read_once() as connection:
        allowed = ask_allowance(connection).allowed
    settings = subject.settings
    for name in ("WEB_CONCURRENCY", "AUTOSCALE_MAX_WORKERS"):
        # Not by default: whether the host is scaled at all is not to be seen.
        workers = getattr(settings, name.lower())
        if name.startswith("AUTOSCALE") and name not in subject.environ:
            continue
        demand = demand_of(replace(settings, web_concurrency=workers))
        needed = demand.total * len(databases)
        found = f"with {name} {workers} this host may open {needed} of {allowed}"
        if needed > allowed:
            lower = f"Lower DB_POOL_SIZE, DB_MAX_OVERFLOW or {name}, raise max_connections"
            yield warning(check, found, f"{lower}, or use PgBouncer. {demand}.")
            return
        yield ok(check, found)
