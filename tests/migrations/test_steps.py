"""Each revision goes up, down and up again, keeps what is in the tables, and breaks no old code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from api.core.database.lineages import BASE, LINEAGES, current_revision, move, revisions
from api.core.database.migrate import migrate
from config.settings import Settings
from tests.contracts.scratch import scratch_database
from tests.migrations.catalogue import parts, rows

# Rows that are there when a revision comes, put in before it.
_ROWS = {
    "0002_directory": [
        "INSERT INTO workspaces (id, name) VALUES (1, 'Acme'), (2, 'Umbrella')",
        "INSERT INTO api_keys (id, workspace_id, name, prefix, key_hash, scopes)"
        " VALUES (3, 1, 'ci', 'sp_live_', 'hash', '{links:read}')",
        "INSERT INTO domains (id, workspace_id, host) VALUES (4, 1, 'go.example.com')",
    ],
    "0004_directory": [
        "INSERT INTO users (id, email, name) VALUES (5, 'ann@example.com', 'Ann')",
        "INSERT INTO memberships (workspace_id, user_id, role) VALUES (1, 5, 'owner')",
        "UPDATE api_keys SET user_id = 5",
        "INSERT INTO audit_events (id, workspace_id, at, action, actor_kind)"
        " VALUES (6, 1, now(), 'link.created', 'user')",
    ],
    "0005_directory": [
        "INSERT INTO oauth_clients (id, workspace_id, client_id, name, redirect_uris, grant_types,"
        " scopes) VALUES (7, 1, 'sp_client_a', 'Newsletter', '{}', '{}', '{}')",
        "UPDATE memberships SET role = 'editor'",
    ],
    "0002_shard": [
        "INSERT INTO links (slot, id, workspace_id, domain, slug, url, title)"
        " VALUES (1, 10, 1, 'go.example.com', 'spring', 'https://example.com', 'Spring')",
        "INSERT INTO link_tags (slot, link_id, tag, workspace_id) VALUES (1, 10, 'sale', 1)",
        "INSERT INTO link_totals VALUES (1, 10, 100, now())",
        "INSERT INTO idempotency_keys (slot, workspace_id, key, fingerprint)"
        " VALUES (1, 1, 'k', 'f')",
        "INSERT INTO ingested_segments (slot, segment_id) VALUES (3, 'a')",
        "INSERT INTO click_counts VALUES (1, 1, 10, 0, now(), false, '', 3, '')",
        "CREATE TABLE clicks_y2026m01 PARTITION OF clicks"
        " FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        "INSERT INTO clicks (slot, link_id, clicked_at, id, workspace_id, visitor, bot)"
        " VALUES (1, 10, '2026-01-05', 11, 1, 12, false)",
    ],
    "0007_shard": [
        "INSERT INTO click_horizons VALUES (0, 5, now())",
        "INSERT INTO click_count_progress VALUES (0, 9)",
        "INSERT INTO click_counts (slot, subject, subject_id, grain, start, bot, part,"
        " workspace_id, clicks, visitors) SELECT 0, subject, 1, 0, now(), false, 1, 1, 1, ''"
        " FROM generate_series(1, 4) AS subject",
        "INSERT INTO title_fetches (slot, link_id, workspace_id) VALUES (1, 10, 1)",
    ],
}

# What rows become, and must be again when the revision is taken back.
_BECOME = {
    "0007_shard": (
        "SELECT slot FROM click_counts UNION ALL SELECT slot FROM click_horizons"
        " UNION ALL SELECT slot FROM click_count_progress",
        [0, 0, 0, 0, 0, 0],
        [-1, -1, -1, -1, -1, 0],
    ),
}

# Revisions that the code before cannot live with, and why that was right.
_BREAKING = {
    "0004_shard": "counts in a table of another form; before the first release",
    "0011_shard": "a default goes that no code ever relied on",
}
# What comes back empty where such a revision is taken back.
_LOST = {"0004_shard": {"click_counts"}}


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """To an empty database."""
    with scratch_database(database_url) as url:
        loaded = Settings.load({"DATABASE_URL": url})
        engine = create_engine(str(loaded.database_url), poolclass=NullPool)
        with engine.connect() as connection:
            yield connection


@pytest.fixture(scope="module")
def migrated(database_url: str) -> Iterator[Connection]:
    """To a migrated database that stays as it is."""
    with scratch_database(database_url) as url:
        loaded = Settings.load({"DATABASE_URL": url})
        migrate(loaded, report=lambda line: None)
        engine = create_engine(str(loaded.database_url), poolclass=NullPool)
        with engine.connect() as connection:
            yield connection


def answers(connection: Connection, revision: str) -> list[int]:
    """What the question about a revision's rows is answered with."""
    return sorted(connection.scalars(text(_BECOME[revision][0])))


@pytest.mark.parametrize("lineage", LINEAGES)
def test_each_revision_goes_up_down_and_up_again(connection: Connection, lineage: str) -> None:
    before = BASE
    for revision in revisions(lineage):
        for statement in _ROWS.get(revision, ()):
            connection.execute(text(statement))
        connection.commit()
        without, kept = parts(connection), rows(connection)
        move(connection, lineage, revision)
        there = parts(connection)
        if revision in _BECOME:
            assert answers(connection, revision) == _BECOME[revision][2]
        move(connection, lineage, before)
        assert parts(connection) == without, revision
        for table in _LOST.get(revision, ()):
            kept[table] = []
        assert rows(connection) == kept, revision
        move(connection, lineage, revision)
        assert parts(connection) == there, revision
        if revision in _BECOME:
            assert answers(connection, revision) == _BECOME[revision][2]
        assert current_revision(connection, lineage) == revision
        connection.rollback()
        before = revision


@pytest.mark.parametrize("lineage", LINEAGES)
def test_no_revision_takes_away_what_the_code_before_needs(
    connection: Connection, lineage: str
) -> None:
    breaking = set()
    without = parts(connection)
    for revision in revisions(lineage):
        move(connection, lineage, revision)
        there = parts(connection)
        if missed(without, there):
            breaking.add(revision)
        without = there
    assert breaking == {name for name in _BREAKING if name.endswith(lineage)}


def missed(without: dict[str, str], there: dict[str, str]) -> list[str]:
    """Columns that the code before finds gone or otherwise, or must fill without knowing it."""
    columns = {name for name in without if name.startswith("column ")}
    tables = {name.partition(".")[0] for name in columns}
    changed = [name for name in columns if kind_of(without[name]) != kind_of(there.get(name, ""))]
    demanded = [
        name
        for name, definition in there.items()
        if name.partition(".")[0] in tables
        and must_be_filled(definition)
        and not must_be_filled(without.get(name, ""))
    ]
    return sorted(changed + demanded)


def kind_of(definition: str) -> str:
    return definition.partition(" DEFAULT ")[0].replace(" NOT NULL", "")


def must_be_filled(definition: str) -> bool:
    return " NOT NULL" in definition and " DEFAULT " not in definition


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("ALTER TABLE links DROP COLUMN title CASCADE", "column links.title"),
        ("ALTER TABLE links RENAME COLUMN title TO name", "column links.title"),
        ("ALTER TABLE links ALTER COLUMN version TYPE bigint", "column links.version"),
        ("ALTER TABLE links ALTER COLUMN max_clicks SET NOT NULL", "column links.max_clicks"),
        ("ALTER TABLE links ADD COLUMN planted integer NOT NULL", "column links.planted"),
        ("DROP TABLE link_totals", "column link_totals.clicks"),
        ("ALTER TABLE links ADD COLUMN planted integer NOT NULL DEFAULT 1", None),
        ("ALTER TABLE links ALTER COLUMN url DROP NOT NULL", None),
        ("CREATE TABLE planted (name text NOT NULL)", None),
    ],
)
def test_what_breaks_old_code_is_noticed(
    migrated: Connection, change: str, name: str | None
) -> None:
    without = parts(migrated)
    migrated.execute(text(change))
    found = missed(without, parts(migrated))
    migrated.rollback()
    assert (name in found) if name else (found == [])
