"""Every query of a request reads an index: no table of a workspace's things is scanned whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from flask import Flask
from sqlalchemy import create_engine, event, text

from api.app import create_app
from api.core.database.migrate import migrate
from api.identity.service import IdentityService
from api.redirects.warming import MostClicked
from config.settings import Settings
from tests.caller import Caller
from tests.contracts.scratch import scratch_database

# A workspace with most of the links, and one with a tenth: plans for either may not scan.
LARGE, SMALL = 20_000, 2_000

FILL_LINKS = text(
    """
    INSERT INTO links (slot, id, workspace_id, domain, slug, url, title, tags, starts_at,
                       expires_at, max_clicks, uses, enabled, created_at, updated_at, deleted_at)
    SELECT n % 1024, (n * 1400000::bigint << 22) | ((n % 1024) << 12) | (w.id % 4096), w.id,
           CASE WHEN n % 50 = 0 THEN 'other.example' ELSE 'sign.test' END,
           'slug-' || w.id || '-' || n, 'https://example.com/page/' || n, 'title ' || n,
           ARRAY['all', 'tag' || n % 100],
           CASE WHEN n % 89 = 1 THEN timestamptz '2090-01-01' END,
           CASE WHEN n % 89 = 0 THEN timestamptz '2026-01-02' END,
           CASE WHEN n % 83 = 0 THEN 5 END, 5, n % 79 <> 0,
           timestamptz '2026-01-01' + n * interval '1400 s',
           timestamptz '2026-01-01' + n * 7919 % :links * interval '1400 s',
           CASE WHEN n % 73 = 0 THEN timestamptz '2026-06-01' END
    FROM generate_series(1, :links) n, (SELECT CAST(:workspace AS bigint) AS id) w
    """
)
FILL_TAGS = text(
    """
    INSERT INTO link_tags (slot, link_id, tag, workspace_id)
    SELECT slot, id, unnest(tags), workspace_id FROM links WHERE deleted_at IS NULL
    """
)
FILL_TOTALS = text(
    """
    INSERT INTO link_totals (slot, link_id, clicks, last_clicked_at)
    SELECT slot, id, 5, now() FROM links WHERE id % 3 <> 0
    """
)
# Tables that stay small here, such as keys and domains, are rightly read whole.
FILL_KEYS = text(
    """
    INSERT INTO api_keys (id, workspace_id, name, prefix, key_hash, scopes)
    SELECT n, :workspace, 'key', 'sp_live_', sha256(n::text::bytea), '{}'
    FROM generate_series(1, 5000) n
    """
)
FILL_DOMAINS = text(
    """
    INSERT INTO domains (id, workspace_id, host)
    SELECT n, :workspace, 'host-' || n || '.example' FROM generate_series(1, 5000) n
    """
)
FILL_CLIENTS = text(
    """
    INSERT INTO oauth_clients (id, workspace_id, client_id, name, redirect_uris, grant_types,
                               scopes)
    SELECT n, :workspace, 'sp_client_' || n, 'client', '{}', '{}', '{}'
    FROM generate_series(1, 5000) n
    """
)
FILL_ANSWERS = text(
    """
    INSERT INTO idempotency_keys (slot, workspace_id, key, fingerprint)
    SELECT n % 1024, :workspace, n, sha256(n::text::bytea) FROM generate_series(1, 5000) n
    """
)
GUARDED = tuple(
    "links link_tags link_totals idempotency_keys api_keys domains oauth_clients".split()
)

SORTS = ("created_at", "-created_at", "updated_at", "-updated_at")
FILTERS = (
    "",
    "q=page+title",
    "q=slug+123",
    "tag=all",
    "tag=tag7",
    "tag=none",
    "domain=other.example",
    "domain=sign.test",
    "state=active",
    "state=disabled",
    "state=scheduled",
    "state=expired",
    "state=exhausted",
    "created_after=2026-06-01T00:00:00Z&created_before=2026-06-02T00:00:00Z",
    "tag=tag7&state=active&domain=sign.test&q=page",
)


class Statement(NamedTuple):
    """What was sent to the server."""

    sql: str
    parameters: Any


class Filled(NamedTuple):
    """An application on a filled database."""

    app: Flask
    large: Caller
    small: Caller


@pytest.fixture(scope="module")
def filled(
    environ: dict[str, str], database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Filled]:
    """Two workspaces with links."""
    with scratch_database(database_url) as url:
        home = str(tmp_path_factory.mktemp("filled"))
        settings = Settings.load(environ | {"DATABASE_URL": url, "SIGNPOST_HOME": home})
        migrate(settings, report=lambda line: None)
        app = create_app(settings)
        db = app.extensions["signpost"].db
        identity = IdentityService(db, settings.resolved_secret_key())
        large, small = (Caller.of_new_workspace(app, identity) for _ in range(2))
        engine = create_engine(str(settings.database_url))
        with engine.begin() as connection:
            for caller, links in ((large, LARGE), (small, SMALL)):
                workspace = {"workspace": caller.workspace_id, "links": links}
                connection.execute(FILL_LINKS, workspace)
            for directory in (FILL_KEYS, FILL_DOMAINS, FILL_CLIENTS, FILL_ANSWERS):
                connection.execute(directory, {"workspace": large.workspace_id})
            connection.execute(FILL_TAGS)
            connection.execute(FILL_TOTALS)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
        engine.dispose()
        app.extensions["signpost"].start_worker()
        yield Filled(app, large, small)
        app.extensions["signpost"].stop_worker()


@contextmanager
def recorded(app: Flask) -> Iterator[list[Statement]]:
    """The statements that the application sends meanwhile."""
    sent: list[Statement] = []

    def note(
        connection: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool
    ) -> None:
        sent.append(Statement(sql, parameters))

    engine = app.extensions["signpost"].db.servers()[0].engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def scans(app: Flask, statement: Statement) -> list[str]:
    """The guarded tables that the plan of a statement reads from one end to the other."""
    engine = app.extensions["signpost"].db.servers()[0].engine
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN {statement.sql}", statement.parameters)
        plan = "\n".join(row[0] for row in rows)
        connection.rollback()
    found = re.findall(r"Seq Scan on (\w+)", plan)
    return [f"{table}:\n{statement.sql}\n{plan}" for table in found if table in GUARDED]


def assert_no_scan(app: Flask, request: Callable[[], Any]) -> None:
    with recorded(app) as sent:
        response = request()
    assert response.status_code < 400, response.text
    about = [statement for statement in sent if any(name in statement.sql for name in GUARDED)]
    assert about
    for statement in about:
        assert scans(app, statement) == []


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("query", FILTERS)
def test_lists_of_links_read_indexes(filled: Filled, query: str, sort: str) -> None:
    for caller in (filled.large, filled.small):
        path = f"/links?limit=20&sort={sort}&{query}"
        assert_no_scan(filled.app, lambda: caller.get(path))  # noqa: B023
        cursor = (caller.get(path).json or {})["next_cursor"]
        if cursor is not None:
            assert_no_scan(filled.app, lambda: caller.get(f"{path}&cursor={cursor}"))  # noqa: B023


@pytest.mark.parametrize("query", FILTERS)
def test_lists_take_one_statement_beside_what_is_remembered(filled: Filled, query: str) -> None:
    with recorded(filled.app) as sent:
        filled.large.get(f"/links?limit=200&{query}")
    # Asked for once in some seconds, by whoever comes or in the background.
    # Asked for once in some seconds, by whoever comes then or in the background.
    remembered = ("api_keys", "workspaces.plan", "target_rule", "revocations")
    assert len([each for each in sent if not any(name in each.sql for name in remembered)]) == 1


def test_requests_about_one_link_read_indexes(filled: Filled) -> None:
    for caller in (filled.large, filled.small):
        app = filled.app
        link = caller.create_link("https://example.com/one", tags=["a"], max_clicks=5)
        path = f"/links/{link['id']}"
        key = {"Idempotency-Key": "a key"}
        url = {"url": "https://example.com/page/77"}
        creation = {"op": "create", "link": url | {"slug": link["slug"] + "2"}}
        for request in (
            lambda: caller.get(path),  # noqa: B023
            lambda: app.test_client().get(f"/{link['slug']}"),  # noqa: B023
            lambda: app.test_client().get(f"/{link['slug']}"),  # noqa: B023
            lambda: caller.patch(path, {"title": "x", "tags": ["b", "c"]}),  # noqa: B023
            lambda: caller.post("/links?find_existing=true", url),  # noqa: B023
            lambda: caller.post("/links", url, headers=key),  # noqa: B023
            lambda: caller.post("/links", url, headers=key),  # noqa: B023
            lambda: caller.post("/links/batch", {"operations": [creation] * 2}),  # noqa: B023
            lambda: caller.get("/api-keys"),  # noqa: B023
            lambda: caller.get("/domains"),  # noqa: B023
            lambda: caller.get("/oauth-clients"),  # noqa: B023
            lambda: caller.delete(path),  # noqa: B023
        ):
            assert_no_scan(app, request)


def test_most_clicked_links_are_found_by_index(filled: Filled) -> None:
    links = MostClicked(filled.app.extensions["signpost"].db, 2_000, 500)
    found = 0
    with recorded(filled.app) as sent:
        while (targets := links.read()) is not None:
            found += len(targets)
            links.advance()
    assert 1_900 < found <= 2_000
    statements = [statement for statement in sent if "link_totals" in statement.sql]
    assert len(statements) == 4
    for statement in statements:
        assert scans(filled.app, statement) == []
