"""Bring every database to the newest schema: the directory, and each shard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, create_engine, exc, inspect, text
from sqlalchemy.pool import NullPool

from api.core.database.lineages import (
    HEAD,
    LINEAGES,
    LOCK_TIMEOUT,
    STATEMENT_TIMEOUT,
    current_revision,
    is_known,
    move,
    newest_revision,
    revisions_after,
)
from api.core.database.slot_map import MAIN
from config.kinds import database_url
from config.settings import Settings, SettingsError

__all__ = [
    "LINEAGES",
    "MigrationError",
    "Step",
    "connect",
    "differences",
    "migrate",
    "missing",
    "newest_revision",
    "pending",
]

# Any constant will do as long as every migrating process uses the same one.
_ADVISORY_LOCK = 0x51_6E_70_6F_73_74
# A migration that gave up waiting for a table tries again, as often, a little later.
_LOCK_TRIES = 5
_LOCK_PAUSE_SECONDS = 2.0
# How often a process looks whether another has done.
_TURN_SECONDS = 0.5

Report = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """A revision that was applied, or taken back, and how long that took."""

    database: str
    revision: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.database}: {self.revision} {self.seconds:.2f} s"


class MigrationError(Exception):
    """Some databases could not be migrated; the message names them in one line."""


@dataclass(frozen=True)
class Place:
    """A database, and the lineages that it has; `direct` where its address is for migrations."""

    shard: str
    url: str
    lineages: Sequence[str]
    direct: bool

    def label(self, lineage: str) -> str:
        """What a lineage there is called in reports."""
        return lineage if self.shard == MAIN else f"{lineage} {self.shard}"


def migrate(
    settings: Settings,
    report: Report = print,
    target: str = HEAD,
    on_step: Callable[[Step], None] = lambda _step: None,
) -> None:
    """Apply what is missing to each lineage of each database, one process at a time.

    Says what it does; `on_step` is told each revision. What was applied stays applied: the next
    run goes on behind it. A shard that cannot be migrated keeps no other from being. A database of
    newer code stays as it is: the code before a release must live with the schema behind it.

    Raises:
        SettingsError: there is no `DATABASE_URL`.
        sqlalchemy.exc.OperationalError: the directory's server is away, or a lock was not free.
        MigrationError: other shards are behind; the directory and `main` are not.
    """
    main = _main(settings)

    def do(place: Place) -> None:
        with _locked_connection(settings, place, report) as connection:
            for lineage in place.lineages:
                label = place.label(lineage)
                _migrate_lineage(connection, lineage, label, report, target, on_step)

    # Backwards the shards go first: the directory knows which there are.
    if target == HEAD:
        do(main)
        _on_each_shard(settings, main, do, report)
    else:
        _on_each_shard(settings, main, do, report)
        do(main)


def missing(settings: Settings, report: Report = print) -> dict[str, list[str]]:
    """What each lineage of each database lacks, those that lack nothing left out.

    Raises:
        MigrationError: some shards could not be asked; `report` was told of the others' lacks.
    """
    found: dict[str, list[str]] = {}

    def look(place: Place) -> None:
        with _connection(settings, place) as connection:
            for lineage in place.lineages:
                if lacks := revisions_after(lineage, current_revision(connection, lineage)):
                    found[place.label(lineage)] = lacks
                    report(f"{place.label(lineage)}: behind by {', '.join(lacks)}")

    main = _main(settings)
    look(main)
    _on_each_shard(settings, main, look, report)
    return found


def pending(settings: Settings) -> list[str]:
    """The lineages that are not at their newest revision."""
    return list(missing(settings, lambda _line: None))


def differences(
    settings: Settings, models: Mapping[str, MetaData], report: Report = print
) -> list[str]:
    """Where the tables of migrated databases differ from the models, one line each.

    Raises:
        MigrationError: some shards could not be asked; `report` was told of them.
    """
    found: list[str] = []

    def look(place: Place) -> None:
        with _connection(settings, place) as connection:
            for lineage in place.lineages:
                changes = _differences(connection, models[lineage])
                found.extend(f"{place.label(lineage)}: {change}" for change in changes)

    main = _main(settings)
    look(main)
    _on_each_shard(settings, main, look, report)
    return found


def _on_each_shard(
    settings: Settings, main: Place, do: Callable[[Place], None], report: Report
) -> None:
    failed = []
    for place in _shards(settings, main):
        try:
            do(place)
        except (SettingsError, exc.DBAPIError) as error:
            report(f"{place.label('shard')}: FAILED: {_reason(error)}")
            failed.append(place.shard)
    if failed:
        raise MigrationError(f"Not reached or not done: the shards {', '.join(failed)}.")


def _reason(error: Exception) -> str:
    """One line for people; a server that is away says several."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def _differences(connection: Connection, metadata: MetaData) -> list[object]:
    def ours(name: str | None, kind: str, parents: object) -> bool:
        del parents
        return kind != "table" or name in metadata.tables

    options = {"include_name": ours, "compare_type": True}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, metadata))


@contextmanager
def connect(settings: Settings, report: Report) -> Iterator[Connection]:
    """A connection to the directory's database, as migrations have it: nobody else migrates it."""
    with _locked_connection(settings, _main(settings), report) as connection:
        yield connection


def _main(settings: Settings) -> Place:
    url = settings.migration_database_url or settings.database_url
    if url is None:
        raise SettingsError("DATABASE_URL: Not set.")
    return Place(MAIN, url, LINEAGES, direct=settings.migration_database_url is not None)


def _shards(settings: Settings, main: Place) -> list[Place]:
    """The shards beside `main` that the settings or the directory name."""
    urls: dict[str, str] = {}
    with _connection(settings, main) as connection:
        if inspect(connection).has_table("shards"):
            for name, url in connection.execute(text("SELECT name, url FROM shards")):
                urls[name] = url or ""
    direct = dict(settings.migration_shard_urls)
    urls |= dict(settings.shard_urls) | direct
    return [
        Place(name, url, ("shard",), direct=name in direct)
        for name, url in sorted(urls.items())
        if name != MAIN
    ]


def _migrate_lineage(
    connection: Connection,
    lineage: str,
    label: str,
    report: Report,
    target: str,
    on_step: Callable[[Step], None],
) -> None:
    before = current_revision(connection, lineage)
    if not is_known(lineage, before):
        report(f"{label}: at {before}, of newer code than this: left as it is")
        return

    def tell(revision: str, seconds: float) -> None:
        step = Step(label, revision, round(seconds, 3))
        report(str(step))
        on_step(step)

    for tries_left in reversed(range(_LOCK_TRIES)):
        try:
            move(connection, lineage, target, tell)
            break
        except exc.OperationalError as error:
            connection.rollback()
            if not isinstance(error.orig, psycopg2.errors.LockNotAvailable) or not tries_left:
                raise
            report(f"{label}: a table is in use; trying again")
            time.sleep(_LOCK_PAUSE_SECONDS)
    after = current_revision(connection, lineage)
    done = "up to date" if before == after else f"{before or 'empty'} -> {after or 'empty'}"
    report(f"{label}: {done}")


@contextmanager
def _connection(settings: Settings, place: Place) -> Iterator[Connection]:
    if not place.url:
        raise SettingsError(f"SHARD_URLS: The shard {place.shard!r} has no address.")
    try:
        url = database_url(place.url)
    except ValueError as error:
        raise SettingsError(f"The address of the shard {place.shard!r}: {error}") from None
    engine = create_engine(
        url,
        poolclass=NullPool,
        connect_args={"connect_timeout": settings.db_connect_timeout_seconds},
    )
    with engine.connect() as connection:
        yield connection


@contextmanager
def _locked_connection(settings: Settings, place: Place, report: Report) -> Iterator[Connection]:
    key = {"key": _ADVISORY_LOCK}
    with _connection(settings, place) as connection:
        _refuse_pooler(connection, place)
        _wait_for_turn(connection, place, report)
        connection.execute(text(STATEMENT_TIMEOUT))
        connection.execute(text(LOCK_TIMEOUT))
        connection.commit()
        try:
            yield connection
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
            connection.commit()


def _refuse_pooler(connection: Connection, place: Place) -> None:
    """Take no lock that another client of the server process would have afterwards.

    Who cancels a query says the server process by its id, so poolers give ids of their own.
    """
    served_by = connection.scalar(text("SELECT pg_backend_pid()"))
    told: Any = connection.connection.dbapi_connection
    if not place.direct and told.info.backend_pid != served_by:
        name = "MIGRATION_DATABASE_URL" if place.shard == MAIN else "MIGRATION_SHARD_URLS"
        raise SettingsError(
            f"{name}: Not set, and the database of {place.shard!r} is behind a pooler, where no"
            " lock and no timeout outlives a transaction."
        )


def _wait_for_turn(connection: Connection, place: Place, report: Report) -> None:
    """Take the lock that one process at a time has.

    By asking again and again: who waits within a statement has a snapshot, and the other process
    may be making an index concurrently, which waits for all that are older.
    """
    said = False
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _ADVISORY_LOCK}):
        connection.commit()
        if not said:
            report(f"{place.label('database')}: another process migrates it; waiting")
            said = True
        time.sleep(_TURN_SECONDS)
    connection.commit()
