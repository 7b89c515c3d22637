"""An installation whose links are on several shards, each a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine, text

from api.app import create_app
from api.clicks.enrichment.enricher import Enricher
from api.clicks.ingest import Counting, Ingest
from api.clicks.partitions import make_months_ahead
from api.core.database.routing import Database
from api.core.database.slot_map import MAIN
from api.identity.service import IdentityService
from api.links.service import add_clicks, find_places
from api.orphans.service import OrphanService
from api.stats.service import StatsService
from config.settings import Settings
from tests.caller import Caller
from tests.conftest import migrated_database

HALF = 512
_ASSIGN = text(
    "INSERT INTO slots (slot, shard, closed, copy_on)"
    " SELECT slot, :shard, :closed, :copy_on FROM generate_series(:first, :last) AS slot"
    " ON CONFLICT (slot) DO UPDATE SET shard = excluded.shard, closed = excluded.closed,"
    " copy_on = excluded.copy_on"
)


@dataclass(frozen=True)
class Shards:
    """Databases by the names of their shards, and the application on them."""

    app: Flask
    settings: Settings
    engines: dict[str, Engine]

    @property
    def db(self) -> Database:
        """The sessions of the application."""
        found: Database = self.app.extensions["signpost"].db
        return found

    def assign(
        self,
        shard: str,
        first: int,
        last: int,
        *,
        closed: bool = False,
        copy_on: str | None = None,
        known: bool = True,
    ) -> None:
        """Give slots to a shard; unless `known` is false, the application learns it at once."""
        with self.engines[MAIN].begin() as connection:
            values = {"shard": shard, "closed": closed, "copy_on": copy_on}
            connection.execute(_ASSIGN, values | {"first": first, "last": last})
            connection.execute(text("UPDATE slot_map SET version = version + 1"))
        if known:
            self.db._map.doubt()

    def caller(self) -> Caller:
        """A key of a new workspace."""
        identity = IdentityService(self.db, self.settings.resolved_secret_key())
        return Caller.of_new_workspace(self.app, identity)

    def other_process(self) -> Flask:
        """The same application once more, which shares nothing but the servers."""
        return create_app(self.settings)

    def count(self, shard: str, query: str, **values: object) -> int:
        """A number that one database says."""
        with self.engines[shard].connect() as connection:
            return int(connection.execute(text(query), values).scalar() or 0)


@pytest.fixture
def shards(
    environ: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shards]:
    """`main` with the first half of the slots, `second` with the other."""
    with ExitStack() as stack:
        urls = {name: stack.enter_context(migrated_database()) for name in (MAIN, "second")}
        home = str(tmp_path_factory.mktemp("shards"))
        places = {"DATABASE_URL": urls[MAIN], "SIGNPOST_HOME": home}
        settings = Settings.load(environ | places | {"STATS_CACHE_SECONDS": "0"})
        engines = {}
        for name, url in urls.items():
            there = Settings.load({"DATABASE_URL": url}).database_url
            engines[name] = create_engine(str(there))
            stack.callback(engines[name].dispose)
        with engines[MAIN].begin() as connection:
            connection.execute(
                text("INSERT INTO shards (name, url) VALUES ('second', :url)"),
                {"url": urls["second"]},
            )
        made = Shards(create_app(settings), settings, engines)
        made.assign("second", HALF, 1023)
        make_months_ahead(made.db)
        made.app.extensions["signpost"].start_worker()
        yield made
        made.app.extensions["signpost"].stop_worker()


@pytest.fixture
def ingest(shards: Shards) -> Ingest:
    """Counts clicks on all shards."""
    counting = Counting(
        find_places=find_places,
        fold=StatsService.fold,
        add_counts=StatsService.add,
        add_totals=add_clicks,
        add_orphans=OrphanService.add,
    )
    return Ingest(shards.db, Enricher(b"a secret of the installation"), counting)
