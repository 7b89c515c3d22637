"""Bring the directory and the shards to the newest schema, one Alembic lineage for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine, text
from sqlalchemy.pool import NullPool

from config.settings import Settings, SettingsError

LINEAGES = ("directory", "shard")
_MIGRATIONS = Path(__file__).parent / "migrations"
# Any constant will do as long as every migrating process uses the same one.
_ADVISORY_LOCK = 0x51_6E_70_6F_73_74


def migrate(
    settings: Settings, report: Callable[[str], None] = print, target: str = "head"
) -> None:
    """Apply what is missing to each lineage, one process at a time; says what it does.

    Raises:
        SettingsError: there is no `DATABASE_URL`.
        sqlalchemy.exc.OperationalError: the server is away, or a lock was not free in time.
    """
    with _locked_connection(settings) as connection:
        for lineage in LINEAGES:
            config = lineage_config(lineage, connection)
            before = current_revision(connection, lineage)
            if target == "base":
                command.downgrade(config, target)
            else:
                command.upgrade(config, target)
            after = current_revision(connection, lineage)
            done = "up to date" if before == after else f"{before or 'empty'} -> {after or 'empty'}"
            report(f"{lineage}: {done}")


def pending(settings: Settings) -> list[str]:
    """The lineages that are not at their newest revision."""
    with _connection(settings) as connection:
        return [
            lineage
            for lineage in LINEAGES
            if current_revision(connection, lineage) != newest_revision(lineage)
        ]


def differences(settings: Settings, models: dict[str, MetaData]) -> list[str]:
    """Where the tables of a migrated database differ from the models, one line each."""
    found: list[str] = []
    with _connection(settings) as connection:
        for lineage, metadata in models.items():
            names = set(metadata.tables)

            def ours(name: str | None, kind: str, parents: object, names: set[str] = names) -> bool:
                del parents
                return kind != "table" or name in names

            context = MigrationContext.configure(
                connection, opts={"include_name": ours, "compare_type": True}
            )
            found += [f"{lineage}: {change}" for change in compare_metadata(context, metadata)]
    return found


def lineage_config(lineage: str, connection: Connection | None = None) -> Config:
    """The Alembic configuration of one lineage."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("version_locations", str(_MIGRATIONS / lineage))
    config.set_main_option("path_separator", "os")
    config.attributes["version_table"] = version_table(lineage)
    config.attributes["connection"] = connection
    return config


def version_table(lineage: str) -> str:
    """Where a lineage keeps its revision; both may live in one database."""
    return f"alembic_version_{lineage}"


def newest_revision(lineage: str) -> str | None:
    """The head of a lineage in this code."""
    return ScriptDirectory.from_config(lineage_config(lineage)).get_current_head()


def current_revision(connection: Connection, lineage: str) -> str | None:
    """The revision that a database is at."""
    options = {"version_table": version_table(lineage)}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


@contextmanager
def _connection(settings: Settings) -> Iterator[Connection]:
    if settings.database_url is None:
        raise SettingsError("DATABASE_URL: Not set.")
    engine = create_engine(
        settings.database_url,
        poolclass=NullPool,
        connect_args={"connect_timeout": settings.db_connect_timeout_seconds},
    )
    with engine.connect() as connection:
        yield connection


@contextmanager
def _locked_connection(settings: Settings) -> Iterator[Connection]:
    with _connection(settings) as connection:
        connection.execute(text("SET statement_timeout = '15min'"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
        # A migration that cannot lock a table soon fails and is tried again: while it queues,
        # the application's own queries queue behind it.
        connection.execute(text("SET lock_timeout = '10s'"))
        connection.commit()
        try:
            yield connection
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY_LOCK})
            connection.commit()
