"""Bring every database to the newest schema: the directory, and each shard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, create_engine, exc, inspect, text
from sqlalchemy.pool import NullPool

from api.core.database.lineages import (
    HEAD,
    LINEAGES,
    current_revision,
    move,
    newest_revision,
)
from api.core.database.slot_map import MAIN
from config.kinds import database_url
from config.settings import Settings, SettingsError

__all__ = ["LINEAGES", "MigrationError", "differences", "migrate", "newest_revision", "pending"]

# Any constant will do as long as every migrating process uses the same one.
_ADVISORY_LOCK = 0x51_6E_70_6F_73_74
# While a migration queues for a table, the application's own queries queue behind it: it gives up
# soon, and tries again a little later.
_LOCK_SECONDS = 5
_LOCK_TRIES = 5
_LOCK_PAUSE_SECONDS = 2.0
_STATEMENT_MINUTES = 15

Report = Callable[[str], None]


class MigrationError(Exception):
    """Some databases could not be migrated; the message names them in one line."""


@dataclass(frozen=True)
class Place:
    """A database, and the lineages that it has."""

    shard: str
    url: str
    lineages: Sequence[str]

    def label(self, lineage: str) -> str:
        """What a lineage there is called in reports."""
        return lineage if self.shard == MAIN else f"{lineage} {self.shard}"


def migrate(settings: Settings, report: Report = print, target: str = HEAD) -> None:
    """Apply what is missing to each lineage of each database, one process at a time.

    Says what it does. What was applied stays applied: the next run goes on behind it. A database
    that cannot be migrated keeps no other from being.

    Raises:
        SettingsError: there is no `DATABASE_URL`.
        sqlalchemy.exc.OperationalError: the directory's server is away, or a lock was not free.
        MigrationError: other shards are behind; the directory and `main` are not.
    """
    main = _main(settings)
    # Backwards the shards go first: the directory knows which there are.
    places = [] if target == HEAD else _shards(settings, main)
    if target == HEAD:
        _migrate(settings, main, report, target)
        places = _shards(settings, main)
    failed = []
    for place in places:
        try:
            _migrate(settings, place, report, target)
        except (SettingsError, exc.DBAPIError) as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            report(f"{place.label('shard')}: FAILED: {reason}")
            failed.append(place.shard)
    if target != HEAD:
        _migrate(settings, main, report, target)
    if failed:
        raise MigrationError(f"Not migrated: the shards {', '.join(failed)}.")


def pending(settings: Settings) -> list[str]:
    """The lineages that are not at their newest revision."""
    behind = []
    for place in _places(settings):
        with _connection(settings, place) as connection:
            behind += [
                place.label(lineage)
                for lineage in place.lineages
                if current_revision(connection, lineage) != newest_revision(lineage)
            ]
    return behind


def differences(settings: Settings, models: dict[str, MetaData]) -> list[str]:
    """Where the tables of migrated databases differ from the models, one line each."""
    found: list[str] = []
    for place in _places(settings):
        with _connection(settings, place) as connection:
            for lineage in place.lineages:
                changes = _differences(connection, models[lineage])
                found += [f"{place.label(lineage)}: {change}" for change in changes]
    return found


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
    return Place(MAIN, url, LINEAGES)


def _places(settings: Settings) -> list[Place]:
    main = _main(settings)
    return [main, *_shards(settings, main)]


def _shards(settings: Settings, main: Place) -> list[Place]:
    """The shards beside `main` that the settings or the directory name."""
    urls: dict[str, str | None] = {}
    with _connection(settings, main) as connection:
        if inspect(connection).has_table("shards"):
            for name, url in connection.execute(text("SELECT name, url FROM shards")):
                urls[name] = None if url is None else database_url(url)
    urls |= dict(settings.shard_urls)
    return [Place(name, url or "", ("shard",)) for name, url in sorted(urls.items())]


def _migrate(settings: Settings, place: Place, report: Report, target: str) -> None:
    with _locked_connection(settings, place, report) as connection:
        for lineage in place.lineages:
            _migrate_lineage(connection, lineage, place.label(lineage), report, target)


def _migrate_lineage(
    connection: Connection, lineage: str, label: str, report: Report, target: str
) -> None:
    before = current_revision(connection, lineage)

    def tell(revision: str, seconds: float) -> None:
        report(f"{label}: {revision} {seconds:.2f} s")

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
    engine = create_engine(
        place.url,
        poolclass=NullPool,
        connect_args={"connect_timeout": settings.db_connect_timeout_seconds},
    )
    with engine.connect() as connection:
        yield connection


@contextmanager
def _locked_connection(settings: Settings, place: Place, report: Report) -> Iterator[Connection]:
    key = {"key": _ADVISORY_LOCK}
    with _connection(settings, place) as connection:
        connection.execute(text(f"SET statement_timeout = '{_STATEMENT_MINUTES}min'"))
        if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key):
            report(f"{place.label('database')}: another process migrates it; waiting")
            connection.execute(text("SELECT pg_advisory_lock(:key)"), key)
        connection.execute(text(f"SET lock_timeout = '{_LOCK_SECONDS}s'"))
        connection.commit()
        try:
            yield connection
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
            connection.commit()
