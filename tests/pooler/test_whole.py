"""A whole Signpost behind a PgBouncer that has fewer connections than it has clients."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.conftest import migrated_database
from tests.pooler.conftest import CONNECTIONS
from tests.running import BROWSER, RunningSignpost, running, wait_until
from tests.services.pgbouncer import PrivatePgBouncer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs scripts/start")

_CLIENTS = 12
_LINKS = 24


def test_links_are_made_followed_and_counted(bouncer: PrivatePgBouncer, tmp_path: Path) -> None:
    with (
        migrated_database() as direct,
        running(
            tmp_path / "home",
            DATABASE_URL=bouncer.url(direct),
            MIGRATION_DATABASE_URL=direct,
            DB_PGBOUNCER="true",
            REDIS_URL=os.environ["TEST_REDIS_URL"],
            SECRET_KEY=f"of this test only {make_url(direct).database}",
        ) as site,
    ):
        with ThreadPoolExecutor(_CLIENTS) as clients:
            links = list(clients.map(lambda number: use(site, number), range(_LINKS)))
        counted = count(site, links)
        wait_until(lambda: count(site, links) == [1] * _LINKS, 30)
        look(bouncer, str(make_url(direct).database))
    assert len({link["id"] for link in links}) == len(counted) == _LINKS


def use(site: RunningSignpost, number: int) -> dict[str, Any]:
    """Make a link, look at it, change it, list it, follow it."""
    link: dict[str, Any] = site.call(
        "POST", "/api/v1/links", {"url": f"https://example.com/{number}", "tags": [f"t{number}"]}
    )
    path = f"/api/v1/links/{link['id']}"
    assert site.call("GET", path)["slug"] == link["slug"]
    assert site.call("PATCH", path, {"title": f"Link {number}"})["title"] == f"Link {number}"
    listed = site.call("GET", f"/api/v1/links?tag=t{number}")["data"]
    assert [(one["id"], one["title"]) for one in listed] == [(link["id"], f"Link {number}")]
    connection = HTTPConnection("127.0.0.1", site.port, timeout=30)
    connection.request("GET", f"/{link['slug']}", headers={"User-Agent": BROWSER})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (302, f"https://example.com/{number}")
    connection.close()
    return link


def count(site: RunningSignpost, links: list[dict[str, Any]]) -> list[int]:
    return [site.clicks(link["id"]) for link in links]


def look(bouncer: PrivatePgBouncer, database: str) -> None:
    """It went through PgBouncer, which had to share few connections among many clients."""
    (pool,) = [one for one in bouncer.show("POOLS") if one["database"] == database]
    assert pool["pool_mode"] == "transaction"
    assert pool["cl_active"] > CONNECTIONS
    servers = [one for one in bouncer.show("SERVERS") if one["database"] == database]
    assert 0 < len(servers) <= CONNECTIONS
    (stats,) = [one for one in bouncer.show("STATS") if one["database"] == database]
    assert stats["total_xact_count"] > 5 * _LINKS
