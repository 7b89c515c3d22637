"""Every query about people and the audit log reads an index, however many there are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import create_engine, event, text

from api.app import create_app
from api.core.database.migrate import migrate
from api.identity.service import IdentityService
from config.settings import Settings
from tests.caller import PASSWORD, Caller
from tests.contracts.scratch import scratch_database
from tests.contracts.test_query_plans import Statement

GUARDED = ("users", "memberships", "invitations", "audit_events", "api_keys")
FILL = (
    """
    INSERT INTO users (id, email, name)
    SELECT n, 'user-' || n || '@example.com', 'User' FROM generate_series(1, 5000) n
    """,
    """
    INSERT INTO memberships (workspace_id, user_id, role)
    SELECT :workspace, n, 'viewer' FROM generate_series(1, 4000) n
    """,
    """
    INSERT INTO api_keys (id, workspace_id, user_id, name, prefix, key_hash, scopes)
    SELECT n, :workspace, 1 + n % 4000, 'key', 'sp_live_', sha256(n::text::bytea), '{}'
    FROM generate_series(1, 5000) n
    """,
    """
    INSERT INTO invitations (id, workspace_id, email, role, token_hash, invited_by, expires_at)
    SELECT n, :workspace, 'new-' || n || '@example.com', 'viewer', sha256(n::text::bytea),
           1 + n % 4000, now() FROM generate_series(1, 5000) n
    """,
    """
    INSERT INTO audit_events (id, workspace_id, at, action, actor_kind, actor_id, target_kind,
                              target_id)
    SELECT n, CASE WHEN n % 10 < 9 THEN :workspace END, now(),
           CASE WHEN n % 1000 = 1 THEN 'key.create' ELSE 'link.create' END,
           'user', n % 50, 'link', n % 5000 FROM generate_series(1, 50000) n
    """,
)


class Filled:
    """An application on a filled database, and somebody in it."""

    def __init__(self, app: Flask, caller: Caller) -> None:
        self.app = app
        self.caller = caller

    def scans(self, statement: Statement) -> list[str]:
        """The guarded tables that the plan of a statement reads from one end to the other."""
        with self.app.extensions["signpost"].db.servers()[0].engine.connect() as connection:
            rows = connection.exec_driver_sql(f"EXPLAIN {statement.sql}", statement.parameters)
            plan = "\n".join(row[0] for row in rows)
            connection.rollback()
        return [name for name in GUARDED if f"Seq Scan on {name}" in plan]


@pytest.fixture(scope="module")
def filled(
    environ: dict[str, str], database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Filled]:
    with scratch_database(database_url) as url:
        home = str(tmp_path_factory.mktemp("filled"))
        settings = Settings.load(environ | {"DATABASE_URL": url, "SIGNPOST_HOME": home})
        migrate(settings, report=lambda line: None)
        app = create_app(settings)
        db = app.extensions["signpost"].db
        caller = Caller.of_new_workspace(app, IdentityService(db, settings.resolved_secret_key()))
        engine = create_engine(str(settings.database_url))
        with engine.begin() as connection:
            for statement in FILL:
                connection.execute(text(statement), {"workspace": caller.workspace_id})
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
        engine.dispose()
        yield Filled(app, caller)
        db.dispose()


def test_people_and_events_are_found_by_index(filled: Filled) -> None:
    caller = filled.caller
    owner = caller.with_role("owner")
    caller.with_role("owner")
    sent: list[Statement] = []
    engine = filled.app.extensions["signpost"].db.servers()[0].engine

    def note(connection: object, cursor: object, sql: str, parameters: object, *_: object) -> None:
        sent.append(Statement(sql, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        invited = {"email": "invited@example.com", "role": "viewer"}
        made = owner.post("/invitations", invited).json or {}
        accepted = {"token": made["token"], "name": "Ann", "password": PASSWORD}
        joined = caller.post("/invitations/accept", accepted).json or {}
        invited = {"email": "user-4500@example.com", "role": "viewer"}
        open_one = (owner.post("/invitations", invited).json or {})["id"]
        member = f"/members/{joined['user_id']}"
        answers = [
            owner.get("/members?limit=20"),
            owner.get(member),
            owner.patch(member, {"role": "editor"}),
            owner.delete(member),
            owner.get("/invitations?limit=20"),
            owner.get(f"/invitations/{open_one}"),
            owner.delete(f"/invitations/{open_one}"),
            owner.get("/users/me"),
            owner.patch("/users/me", {"current_password": PASSWORD, "name": "Ann"}),
            owner.post("/workspaces", {"name": "Another"}),
            owner.get("/audit-events?limit=20"),
            owner.get("/audit-events?limit=20&action=key.create"),
            owner.get("/audit-events?limit=20&actor=user:7"),
            owner.get("/audit-events?limit=20&target=link:4"),
            owner.get("/audit-events?limit=20&target=link:4&action=link.create&actor=user:4"),
            owner.get("/audit-events?limit=20&after=2026-06-01T00:00:00Z"),
            owner.get("/audit-events?limit=20&before=2027-06-01T00:00:00Z"),
        ]
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert [it.status_code for it in answers if it.status_code >= 300] == []
    assert len(sent) > 40
    for statement in sent:
        if any(f" {name}" in statement.sql for name in GUARDED):
            assert filled.scans(statement) == [], statement.sql
