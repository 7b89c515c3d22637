from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from api.app import create_app
from api.clicks.consumer import Consumer
from api.clicks.enrichment.enricher import Enricher
from api.clicks.folder import SpoolFolder
from api.clicks.ingest import Counting, Ingest
from api.clicks.local_spool import LocalSpool
from api.core.database.routing import Database
from api.identity.service import IdentityService
from api.orphans.service import OrphanService
from config.settings import Settings
from tests.caller import Caller
from tests.redirects.visitor import Visitor
from tests.scripting import run_script


@pytest.fixture(autouse=True)
def _nothing_counted(db: Database) -> None:
    """Visits of nobody are seen by every workspace: those of other tests must not be there."""
    with db.write(0) as session:
        session.execute(text("DELETE FROM orphan_visits"))


@pytest.fixture(scope="session")
def ingest(db: Database) -> Ingest:
    counting = Counting(add_orphans=OrphanService.add)
    return Ingest(db, Enricher(b"a secret of the installation"), counting)


@dataclass(frozen=True)
class Site:
    """An installation with a default domain and a spool of its own."""

    app: Flask
    host: str
    caller: Caller
    environ: dict[str, str]
    ingest: Ingest

    @property
    def visitor(self) -> Visitor:
        """A visitor of the default domain."""
        return Visitor(self.app, host=self.host)

    @property
    def folder(self) -> SpoolFolder:
        """Where its segments wait."""
        return SpoolFolder(Settings.load(self.environ).spool_path)

    def restart(self) -> None:
        """Stop as a process does that is told to, and start again."""
        runtime = self.app.extensions["signpost"]
        runtime.stop_worker()
        runtime.start_worker()

    def consume(self) -> None:
        """Count all visits so far."""
        self.restart()
        Consumer(LocalSpool(self.folder), self.ingest).drain()

    def consume_by_script(self) -> dict[str, Any]:
        """The same, as an operator would; its figures."""
        self.restart()
        environ = os.environ | self.environ
        done = run_script("consume-clicks", "--once", "--json", env=environ)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def groups(self, caller: Caller | None = None, **query: str) -> dict[tuple[str, str], int]:
        """What a workspace is told of the last month, by kind and host."""
        response = (caller or self.caller).get("/stats/orphans", query_string=query)
        assert response.status_code == 200, response.text
        body = response.json or {}
        found = {(group["kind"], group["host"]): group["visits"] for group in body["groups"]}
        assert body["total"]["visits"] == sum(found.values())
        assert body["total"]["visits"] == sum(bucket["visits"] for bucket in body["series"])
        return found

    def claim(self) -> str:
        """A domain that the workspace has claimed."""
        host = f"go-{uuid.uuid4().hex[:12]}.example"
        assert self.caller.post("/domains", {"host": host}).status_code == 201
        return host


@pytest.fixture
def make_site(
    environ: dict[str, str], tmp_path: Path, identity: IdentityService, ingest: Ingest
) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def make(**changes: str) -> Site:
        host = f"{uuid.uuid4().hex[:12]}.test"
        own = {"BASE_URL": f"http://{host}", "SIGNPOST_HOME": str(tmp_path / host)}
        settings = environ | own | changes
        app = create_app(Settings.load(settings))
        app.extensions["signpost"].start_worker()
        caller = Caller.of_new_workspace(app, identity)
        sites.append(Site(app, host, caller, settings, ingest))
        return sites[-1]

    yield make
    for site in sites:
        site.app.extensions["signpost"].stop_worker()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()
