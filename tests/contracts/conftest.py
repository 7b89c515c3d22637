"""Tables that are filled once, for all that is asked of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from api.app import create_app
from api.clicks.enrichment.enricher import Enricher
from api.clicks.ingest import Counting, Ingest
from api.clicks.months import insert_month, month_of, next_month
from api.core.database.routing import Database
from api.core.ids import HOME_SLOT
from api.identity.service import IdentityService
from api.links.service import add_clicks, find_places
from api.orphans.service import OrphanService
from api.stats.service import StatsService
from config.settings import Settings
from tests.caller import Caller
from tests.conftest import migrated_database
from tests.contracts.endpoints import Stage
from tests.contracts.filling import NOW, fill
from tests.contracts.plans import Filled


def make_ingest(db: Database) -> Ingest:
    return Ingest(
        db,
        Enricher(b"a secret of the tests only"),
        Counting(
            find_places=find_places,
            fold=StatsService.fold,
            add_counts=StatsService.add,
            add_totals=add_clicks,
            add_orphans=OrphanService.add,
        ),
    )


@pytest.fixture(scope="session")
def filled(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with migrated_database() as url:
        home = str(tmp_path_factory.mktemp("filled"))
        settings = Settings.load(environ | {"DATABASE_URL": url, "SIGNPOST_HOME": home})
        app = create_app(settings)
        runtime = app.extensions["signpost"]
        identity = IdentityService(runtime.db, settings.resolved_secret_key())
        callers = [Caller.of_new_workspace(app, identity) for _ in range(3)]
        month = month_of(NOW - timedelta(days=60))
        while month <= NOW + timedelta(days=70):
            with runtime.db.write(0) as session:
                insert_month(session, month)
            month = next_month(month)
        workspaces = (caller.workspace_id for caller in callers)
        fill(str(settings.database_url), *workspaces, home=HOME_SLOT)
        ingest = make_ingest(runtime.db)
        owner = callers[0].with_role("owner")
        stage = Stage(app, runtime.db, owner, 3, lambda segment: ingest.ingest([segment]))
        stage.fill()
        runtime.start_worker()
        yield Filled(app, runtime.db, stage, callers)
        runtime.stop_worker()
