"""Settings for a process beside the embedded servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from api.core.embedded import postgres, valkey
from config.settings import Settings, SettingsError


def postgres_folder(home: Path) -> Path:
    """Where the embedded PostgreSQL of this home lives."""
    return home / "postgres"


def valkey_folder(home: Path) -> Path:
    """Where the embedded Valkey of this home lives."""
    return home / "valkey"


def embedded_settings(settings: Settings) -> Settings:
    """Fill in the embedded servers' addresses where none are set and they run.

    Raises:
        SettingsError: there is no database at all.
    """
    home = settings.signpost_home
    database_url, redis_url = settings.database_url, settings.redis_url
    if database_url is None:
        found = postgres.find_running(postgres_folder(home))
        if found is None:
            raise SettingsError(
                "no DATABASE_URL, and no embedded server is running: run scripts/start"
            )
        # Settings name the driver; the URL that the server itself tells does not.
        database_url = Settings.load({"DATABASE_URL": found}).database_url
        redis_url = redis_url or valkey.find_running(valkey_folder(home))
    return replace(settings, database_url=database_url, redis_url=redis_url)


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of a script: the environment, and the embedded servers where they run.

    Raises:
        SettingsError: a value is wrong, or there is no database.
    """
    return embedded_settings(Settings.load(environ))
