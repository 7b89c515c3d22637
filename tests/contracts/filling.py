"""Every table that grows, filled as in an installation that has been in use for long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, create_engine, text

# Of links: a workspace has nine in ten, another most of the rest, one just begins.
LARGE, SMALL, TINY = 90_000, 9_000, 1_000
# The times of what is filled in end here.
NOW = datetime.now(UTC).replace(microsecond=0)

# In an order in which what is referred to comes first.
_FILLINGS = {
    "links": """
        INSERT INTO links (slot, id, workspace_id, domain, slug, url, title, tags, starts_at,
                           expires_at, max_clicks, uses, enabled, metadata, created_at, updated_at,
                           deleted_at)
        SELECT n % 1024, (n * :step_ms << 22) | ((n % 1024) << 12) | (w.id % 4096), w.id,
               CASE WHEN n % 50 = 0 THEN 'other.example' ELSE 'sign.test' END,
               'slug-' || w.id || '-' || n,
               CASE WHEN n % 20 = 7 THEN 'https://example.com/landing'
                    ELSE 'https://example.com/page/' || n END,
               'title ' || n || CASE WHEN n % 100 = 0 THEN ' seldom' ELSE '' END
                   || CASE WHEN n <= w.links / 5 THEN ' early' ELSE '' END,
               ARRAY['all', 'tag' || n % 100],
               CASE WHEN n % 89 = 1 THEN timestamptz '2090-01-01' END,
               CASE WHEN n % 89 = 0 THEN timestamptz '2026-01-02' END,
               CASE WHEN n % 83 = 0 THEN 5 END, 5, n % 79 <> 0,
               jsonb_build_object('campaign', n % 100, 'note', repeat('x', 100)),
               timestamptz '2026-01-01Z' + n * :step_ms * interval '1 ms',
               timestamptz '2026-01-01Z' + n * 7919 % w.links * :step_ms * interval '1 ms',
               CASE WHEN n % 73 = 0 THEN timestamptz '2026-06-01' END
        FROM (VALUES (:large, :large_links), (:small, :small_links), (:tiny, :tiny_links))
            AS w (id, links), generate_series(1::bigint, w.links) AS n
    """,
    "link_tags": """
        INSERT INTO link_tags (slot, link_id, tag, workspace_id)
        SELECT slot, id, unnest(tags), workspace_id FROM links WHERE deleted_at IS NULL
    """,
    "link_totals": """
        INSERT INTO link_totals (slot, link_id, clicks, last_clicked_at)
        SELECT slot, id, 1 + id / 4194304 % 5000, now() FROM links WHERE id % 3 <> 0
    """,
    "title_fetches": """
        INSERT INTO title_fetches (slot, link_id, workspace_id, due_at, offered_at)
        SELECT slot, id, workspace_id,
               now() + (row_number() OVER (ORDER BY id) - 1200) * interval '1 min',
               now() - interval '1 hour'
        FROM links WHERE deleted_at IS NULL ORDER BY id LIMIT 20000
    """,
    "idempotency_keys": """
        INSERT INTO idempotency_keys (slot, workspace_id, key, fingerprint, created_at)
        SELECT n % 1024, :large, n, sha256(n::text::bytea), now() - n * interval '4 s'
        FROM generate_series(1, 20000) AS n
    """,
    "ingested_segments": """
        INSERT INTO ingested_segments (slot, segment_id, ingested_at)
        SELECT n % 1024, 'segment of the filling ' || n, now() - n * interval '130 s'
        FROM generate_series(1, 20000) AS n
    """,
    # One link has a third of all, five share another third, and three hundred the rest.
    "clicks": """
        INSERT INTO clicks (slot, link_id, clicked_at, id, workspace_id, visitor, bot, country)
        SELECT held.slot, held.id, :now - n * interval '43 s', n, :large, n % 5000, n % 20 = 0, 'DE'
        FROM (
            SELECT row_number() OVER (ORDER BY id DESC) AS place, slot, id
            FROM links WHERE workspace_id = :large AND deleted_at IS NULL
            ORDER BY id DESC LIMIT 300
        ) AS held
        JOIN generate_series(1, 100000) AS n ON held.place =
            CASE n % 3 WHEN 0 THEN 1 WHEN 1 THEN 2 + n / 3 % 5 ELSE 1 + n / 3 % 300 END
    """,
    "click_counts": """
        INSERT INTO click_counts (slot, subject, subject_id, grain, start, bot, part,
                                  workspace_id, clicks, visitors)
        SELECT held.slot, 1, held.id, grain,
               date_trunc('day', CAST(:now AS timestamptz)) - period *
                   CASE grain WHEN 0 THEN interval '15 min' ELSE interval '1 day' END,
               false, row_number() OVER (), held.workspace_id, 1, '\\x0000000000'
        FROM (SELECT slot, id, workspace_id FROM links ORDER BY id DESC LIMIT 400) AS held,
            generate_series(0, 1) AS grain, generate_series(0, 59) AS period,
            generate_series(1, 2) AS part
    """,
    "click_horizons": """
        INSERT INTO click_horizons (slot, workspace_id, complete_from)
        SELECT :home, n, now() - interval '1 year' FROM generate_series(1, 5000) AS n
    """,
    "click_erasures": """
        INSERT INTO click_erasures (slot, link_id, workspace_id, erased_until, finished_at)
        SELECT slot, id, workspace_id, timestamptz '2026-01-01Z', now()
        FROM links WHERE deleted_at IS NULL ORDER BY id LIMIT 5000
    """,
    # The hosts of as many workspaces, ten of one, and a host of nobody.
    "orphan_visits": """
        INSERT INTO orphan_visits (slot, workspace_id, host, kind, quarter, visits)
        SELECT w % 1024, CASE WHEN w = 0 THEN 0 WHEN w < 11 THEN :large ELSE w END,
               CASE WHEN w = 0 THEN '' ELSE 'host-' || w END, kind,
               date_trunc('hour', CAST(:now AS timestamptz)) - q * interval '15 min', 1
        FROM generate_series(0, 200) AS w, generate_series(1, 4) AS kind,
            generate_series(0, 479) AS q
        WHERE (w + q) % 4 = 0
    """,
    "workspaces": """
        INSERT INTO workspaces (id, name) SELECT n, 'Workspace' FROM generate_series(1, 5000) AS n
    """,
    "users": """
        INSERT INTO users (id, email, name)
        SELECT n, 'user-' || n || '@example.com', 'User' FROM generate_series(1, 5000) AS n
    """,
    "memberships": """
        INSERT INTO memberships (workspace_id, user_id, role)
        SELECT :large, n, 'viewer' FROM generate_series(1, 4000) AS n
        UNION ALL SELECT n, 1 + n % 500, 'owner' FROM generate_series(1, 5000) AS n
    """,
    "invitations": """
        INSERT INTO invitations (id, workspace_id, email, role, token_hash, invited_by, expires_at)
        SELECT n, :large, 'new-' || n || '@example.com', 'viewer', sha256(n::text::bytea),
               1 + n % 4000, now() FROM generate_series(1, 5000) AS n
    """,
    "api_keys": """
        INSERT INTO api_keys (id, workspace_id, user_id, name, prefix, key_hash, scopes)
        SELECT n, :large, 1 + n % 4000, 'key', 'sp_live_', sha256(n::text::bytea), '{}'
        FROM generate_series(1, 5000) AS n
    """,
    "domains": """
        INSERT INTO domains (id, workspace_id, host)
        SELECT n, :large, 'host-' || n || '.example' FROM generate_series(1, 5000) AS n
    """,
    "link_usage": """
        INSERT INTO link_usage (workspace_id, month, links)
        SELECT n, month, 7 FROM generate_series(1, 5000) AS n,
            generate_series(date '2026-01-01', date '2026-03-01', interval '1 month') AS month
    """,
    "audit_events": """
        INSERT INTO audit_events (id, workspace_id, at, action, actor_kind, actor_id, target_kind,
                                  target_id)
        SELECT n::bigint << 22, CASE WHEN n % 10 < 9 THEN :large END, now(),
               CASE WHEN n % 1000 = 1 THEN 'key.create' ELSE 'link.create' END,
               'user', n % 50, 'link', n % 5000 FROM generate_series(1, 50000) AS n
    """,
    "target_rules": """
        INSERT INTO target_rules (id, workspace_id, kind, value)
        SELECT n, CASE WHEN n % 10 = 0 THEN NULL WHEN n % 9 = 1 THEN :large ELSE n END, 'host',
               'evil-' || n || '.example' FROM generate_series(1, 5000) AS n
    """,
    "target_rule_changes": """
        INSERT INTO target_rule_changes (owner_id, version, rules)
        SELECT owner_id, row_number() OVER (ORDER BY owner_id DESC), count(*)
        FROM target_rules GROUP BY owner_id
    """,
    "imports": """
        INSERT INTO imports (id, workspace_id, format, conflict, dry_run, state, digest, seed,
                             offered_at, expires_at, idempotency_key)
        SELECT n, :large, 'csv', 'skip', false,
               CASE WHEN n % 50 = 0 THEN 'queued' ELSE 'finished' END, '', '', now(),
               now() + (n - 500) * interval '1 min', n
        FROM generate_series(1, 5000) AS n
    """,
    "import_chunks": """
        INSERT INTO import_chunks (import_id, number, first_row, rows, outcomes)
        SELECT n, chunk, chunk * 1000, 1000, '' FROM generate_series(1, 5000) AS n,
            generate_series(0, 9) AS chunk
    """,
    "workspace_erasures": """
        INSERT INTO workspace_erasures (workspace_id, token_hash, finished_at)
        SELECT n + 1000000, sha256(n::text::bytea), CASE WHEN n % 50 > 0 THEN now() END
        FROM generate_series(1, 5000) AS n
    """,
    "erased_workspaces": """
        INSERT INTO erased_workspaces (slot, workspace_id)
        SELECT :home, n + 1000000 FROM generate_series(1, 5000) AS n
    """,
    "oauth_clients": """
        INSERT INTO oauth_clients (id, workspace_id, client_id, name, redirect_uris, grant_types,
                                   scopes)
        SELECT n, :large, 'sp_client_' || n, 'client', '{}', '{}', '{}'
        FROM generate_series(1, 5000) AS n
    """,
    "oauth_grants": """
        INSERT INTO oauth_grants (id, oauth_client_id, workspace_id, user_id, scopes)
        SELECT n, n, :large, 1 + n % 4000, '{}' FROM generate_series(1, 5000) AS n
    """,
    "oauth_codes": """
        INSERT INTO oauth_codes (code_hash, grant_id, redirect_uri, code_challenge, expires_at)
        SELECT sha256(n::text::bytea), n, '', '', now() + n * interval '1 s'
        FROM generate_series(1, 5000) AS n
    """,
    "oauth_refresh_tokens": """
        INSERT INTO oauth_refresh_tokens (token_hash, grant_id, expires_at)
        SELECT sha256(n::text::bytea), n, now() + n * interval '1 s'
        FROM generate_series(1, 5000) AS n
    """,
    "oauth_device_codes": """
        INSERT INTO oauth_device_codes (device_hash, user_code, oauth_client_id, scopes, expires_at,
                                        interval_seconds)
        SELECT sha256(n::text::bytea), n, n, '{}', now() + n * interval '1 s', 5
        FROM generate_series(1, 5000) AS n
    """,
    "revocations": """
        INSERT INTO revocations (kind, subject, before, ends_at, recorded_at)
        SELECT 'token', n, now(), now() + interval '600 s', now() - n * interval '1 s'
        FROM generate_series(1, 5000) AS n
    """,
    "oidc_subjects": """
        INSERT INTO oidc_subjects (issuer, subject, user_id)
        SELECT 'https://accounts.example.com', n, n FROM generate_series(1, 5000) AS n
    """,
}
FILLED = frozenset(_FILLINGS)


def fill(url: str, large: int, small: int, tiny: int, home: int) -> None:
    """Fill a migrated database; the three workspaces are there already.

    Indexes are made when the rows are there, which takes a third of the time; what the rows refer
    to is there, and need not be looked at.
    """
    values = {"large": large, "small": small, "tiny": tiny, "home": home, "now": NOW}
    values |= {"large_links": LARGE, "small_links": SMALL, "tiny_links": TINY}
    # Links of the large workspace come evenly from the beginning until now.
    began = datetime(2026, 1, 1, tzinfo=UTC)
    values["step_ms"] = int((NOW - began).total_seconds() * 1000 / (LARGE + 1))
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("SET LOCAL maintenance_work_mem = '64MB'"))
        for name, statement in _FILLINGS.items():
            with _without_indexes(connection, name):
                query = text(statement)
                used = {key: values[key] for key in query.compile().params}
                connection.execute(query, used)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


@contextmanager
def _without_indexes(connection: Connection, table: str) -> Iterator[None]:
    """Drop the indexes of a table that are no constraints, and make them again."""
    query = text(
        """
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
        WHERE indrelid = CAST(:name AS regclass)
            AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
        """
    )
    found = connection.execute(query, {"name": table}).all()
    for name, _ in found:
        connection.execute(text(f"DROP INDEX {name}"))
    yield
    for _, definition in found:
        assert re.match("CREATE (UNIQUE )?INDEX", definition)
        connection.exec_driver_sql(definition.replace("%", "%%"))
