"""Migrations beside an application that is behind PgBouncer."""

from __future__ import annotations

import pytest

from api.core.database.lineages import newest_revision
from api.core.database.migrate import MigrationError, migrate, pending
from config.settings import Settings, SettingsError
from tests.conftest import new_database
from tests.services.pgbouncer import PrivatePgBouncer


def test_a_pooler_is_noticed_and_refused(bouncer: PrivatePgBouncer) -> None:
    with new_database() as direct:
        settings = Settings.load({"DATABASE_URL": bouncer.url(direct)})
        with pytest.raises(SettingsError, match=r"^MIGRATION_DATABASE_URL: .*behind a pooler"):
            migrate(settings, report=lambda line: None)
        assert pending(settings) == ["directory", "shard"]


def test_every_database_is_reached_past_the_pooler(bouncer: PrivatePgBouncer) -> None:
    with new_database() as direct, new_database() as second:
        environ = {
            "DATABASE_URL": bouncer.url(direct),
            "MIGRATION_DATABASE_URL": direct,
            "SHARD_URLS": f"second={bouncer.url(second)}",
        }
        said: list[str] = []
        with pytest.raises(MigrationError, match="second"):
            migrate(Settings.load(environ), report=said.append)
        assert said[-1].startswith("shard second: FAILED: MIGRATION_SHARD_URLS: Not set")
        said.clear()
        environ["MIGRATION_SHARD_URLS"] = f"second={second}"
        migrate(Settings.load(environ), report=said.append)
        assert said[-1] == f"shard second: empty -> {newest_revision('shard')}"
