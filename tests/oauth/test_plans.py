"""Every query of the protocol reads an index, however much was given out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text

from api.core.database.routing import Database, WriteSession
from api.oauth import grant_store, revocation_store, store, subject_store
from config.settings import Settings
from tests.conftest import migrated_database

ROWS = 5_000
FILL = """
    INSERT INTO workspaces (id, name) VALUES (1, 'w');
    INSERT INTO users (id, email, name) SELECT n, 'u' || n || '@example.com', 'u'
        FROM generate_series(1, {rows}) n;
    INSERT INTO memberships (workspace_id, user_id, role) SELECT 1, n, 'viewer'
        FROM generate_series(1, {rows}) n;
    INSERT INTO oauth_clients (id, workspace_id, client_id, name, redirect_uris, grant_types,
                               scopes)
        SELECT n, 1, 'c' || n, 'c', '{{}}', '{{}}', '{{}}' FROM generate_series(1, {rows}) n;
    INSERT INTO oauth_grants (id, oauth_client_id, workspace_id, user_id, scopes)
        SELECT n, n, 1, n, '{{}}' FROM generate_series(1, {rows}) n;
    INSERT INTO oauth_codes (code_hash, grant_id, redirect_uri, code_challenge, expires_at)
        SELECT sha256(n::text::bytea), n, '', '', now() + n * interval '1 s'
        FROM generate_series(1, {rows}) n;
    INSERT INTO oauth_refresh_tokens (token_hash, grant_id, expires_at)
        SELECT sha256(n::text::bytea), n, now() + n * interval '1 s'
        FROM generate_series(1, {rows}) n;
    INSERT INTO oauth_device_codes (device_hash, user_code, oauth_client_id, scopes, expires_at,
                                    interval_seconds)
        SELECT sha256(n::text::bytea), n, n, '{{}}', now() + n * interval '1 s', 5
        FROM generate_series(1, {rows}) n;
    INSERT INTO revocations (kind, subject, before, ends_at, recorded_at)
        SELECT 'token', n, now(), now() + interval '600 s', now() - n * interval '1 s'
        FROM generate_series(1, {rows}) n;
    INSERT INTO oidc_subjects (issuer, subject, user_id)
        SELECT 'https://accounts.example.com', n, n FROM generate_series(1, {rows}) n;
"""
DIGEST = b"x" * 32
QUERIES: dict[str, Callable[[WriteSession], Any]] = {
    "client": lambda s: store.get_client_by_name(s, "c7"),
    "clients": lambda s: store.find_clients(s, 1, None, 50),
    "grant": lambda s: grant_store.get_grant(s, 7),
    "end of a grant": lambda s: grant_store.update_grant_revoked(s, 7),
    "code": lambda s: grant_store.get_code(s, 7, DIGEST),
    "use of a code": lambda s: grant_store.use_code(s, DIGEST),
    "refresh token": lambda s: grant_store.get_refresh_token(s, DIGEST),
    "use of a refresh token": lambda s: grant_store.use_refresh_token(s, DIGEST),
    "device": lambda s: grant_store.get_device(s, DIGEST),
    "device of a code": lambda s: grant_store.get_device_by_user_code(s, "7"),
    "use of a device": lambda s: grant_store.use_device(s, DIGEST),
    "new revocations": lambda s: revocation_store.find_revocations(s, _minute_ago(s)),
    "moment": lambda s: revocation_store.get_moment(s, [("token", "7"), ("user", "8")]),
    "what has ended": grant_store.delete_ended,
    "revocations that have ended": revocation_store.delete_ended,
    "subject": lambda s: subject_store.get_user_id(s, "https://accounts.example.com", "7"),
    "a client that goes": lambda s: store.delete_client(s, 1, 7),
}


def _minute_ago(session: WriteSession) -> Any:
    return session.scalar(text("SELECT now() - interval '60 s'"))


@pytest.fixture(scope="module")
def filled() -> Iterator[Database]:
    """A directory that has given out much."""
    with migrated_database() as url:
        settings = Settings.load({"DATABASE_URL": url})
        engine = create_engine(str(settings.database_url))
        with engine.begin() as connection:
            connection.exec_driver_sql(FILL.format(rows=ROWS))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
        engine.dispose()
        db = Database(settings)
        yield db
        db.dispose()


@pytest.mark.parametrize("name", QUERIES)
def test_query_reads_an_index(name: str, filled: Database) -> None:
    sent: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, sql: str, parameters: Any, *rest: Any) -> None:
        sent.append((sql, parameters))

    engine = filled.servers()[0].engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        with filled.write_directory() as session:
            QUERIES[name](session)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    about = [statement for statement in sent if re.search("oauth_|revocations|oidc_", statement[0])]
    assert about
    with engine.connect() as connection:
        for sql, parameters in about:
            rows = connection.exec_driver_sql(f"EXPLAIN {sql}", parameters)
            plan = "\n".join(row[0] for row in rows)
            assert "Seq Scan on" not in plan, f"{sql}\n{plan}"
        connection.rollback()
