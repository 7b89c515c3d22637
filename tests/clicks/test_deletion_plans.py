"""Purges and erasures find raw clicks by index: no month is read from one end to the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine, event, text

from api.app import create_app
from api.clicks.erasure import finish_erasures
from api.clicks.months import insert_month, month_of, next_month
from api.clicks.retention import Purged, Retention
from api.core.database.routing import Database
from api.identity.service import IdentityService
from config.settings import Settings
from tests.caller import Caller
from tests.conftest import migrated_database

NOW = datetime.now(UTC)
LINKS, CLICKS_PER_LINK = 400, 150
FILL = text(
    """
    INSERT INTO clicks (slot, link_id, clicked_at, id, workspace_id, visitor, bot)
    SELECT (id >> 12) & 1023, id, CAST(:now AS timestamptz) - n * interval '9 hours', n,
           CASE WHEN mine THEN :workspace ELSE 7 END, n, false
    FROM (
        SELECT (k::bigint << 22) | ((k * 7 % 1024) << 12) AS id, k % 2 = 0 AS mine
        FROM generate_series(1, :links) k
        UNION ALL SELECT CAST(:link AS bigint), true
    ) AS links, generate_series(1, :clicks) n
    """
)


class Filled(NamedTuple):
    """An application on a database with clicks of two months."""

    app: Flask
    caller: Caller
    link: dict[str, Any]

    @property
    def db(self) -> Database:
        database: Database = self.app.extensions["signpost"].db
        return database

    @property
    def engine(self) -> Engine:
        return self.db.servers()[0].engine


@pytest.fixture
def filled(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with migrated_database() as url:
        home = str(tmp_path_factory.mktemp("filled"))
        settings = Settings.load(environ | {"DATABASE_URL": url, "SIGNPOST_HOME": home})
        app = create_app(settings)
        runtime = app.extensions["signpost"]
        runtime.start_worker()
        identity = IdentityService(runtime.db, settings.resolved_secret_key())
        identity.create_workspace("Keeps all, so that no month is dropped")
        caller = Caller.of_new_workspace(app, identity)
        filled = Filled(app, caller, caller.create_link())
        _fill(filled, str(settings.database_url))
        yield filled
        runtime.stop_worker()


def _fill(filled: Filled, url: str) -> None:
    month = month_of(NOW - CLICKS_PER_LINK * timedelta(hours=9))
    while month <= NOW:
        with filled.db.write(0) as session:
            insert_month(session, month)
        month = next_month(month)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            FILL,
            {
                "now": NOW,
                "workspace": filled.caller.workspace_id,
                "link": int(filled.link["id"]),
                "links": LINKS,
                "clicks": CLICKS_PER_LINK,
            },
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


@pytest.fixture
def scans(filled: Filled) -> Iterator[list[str]]:
    """Plans, of what is sent meanwhile, that read months of clicks whole."""
    found: list[str] = []
    asked = 0

    def explain(
        connection: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool
    ) -> None:
        nonlocal asked
        if not re.search(r"(FROM|JOIN) clicks\b", sql) or sql.startswith("EXPLAIN"):
            return
        asked += 1
        # Within the very transaction, before the statement itself is run.
        cursor.execute(f"EXPLAIN {sql}", parameters)
        plan = "\n".join(row[0] for row in cursor.fetchall())
        if "Seq Scan on clicks" in plan:
            found.append(f"{sql}\n{plan}")

    event.listen(filled.engine, "before_cursor_execute", explain)
    yield found
    event.remove(filled.engine, "before_cursor_execute", explain)
    assert asked > 1


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_purge_reads_no_month_whole(filled: Filled, scans: list[str], dry_run: bool) -> None:
    path = f"/workspaces/{filled.caller.workspace_id}"
    filled.caller.patch(path, {"click_retention_days": 20})
    retention = Retention(filled.db, filled.caller.identity, 0)
    purged = Purged()
    for _ in retention.purge(retention.cutoffs(), purged, batch=1_000, dry_run=dry_run):
        pass
    assert purged.deleted.total() > 10_000
    assert scans == []


def test_an_erasure_reads_no_month_whole(filled: Filled, scans: list[str]) -> None:
    answer = filled.caller.delete(f"/links/{filled.link['id']}/clicks")
    assert answer.status_code == 204
    list(finish_erasures(filled.db))
    assert filled.caller.get(f"/links/{filled.link['id']}/clicks").json["data"] == []  # type: ignore[index]
    assert scans == []


def test_to_ask_whose_clicks_they_are_reads_no_month_whole(
    filled: Filled, scans: list[str]
) -> None:
    mine, anothers = (2 << 22) | (14 << 12), (1 << 22) | (7 << 12)
    assert filled.caller.delete(f"/links/{anothers}/clicks").status_code == 404
    assert filled.caller.delete(f"/links/{mine}/clicks").status_code == 204
    assert scans == []
