"""What is wrong in a database is provoked for real, named, and told what to do about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import make_url

from api.app import create_app
from api.clicks.months import month_of, next_month, partition_name
from api.core.database.lineages import revisions
from api.core.ids import slot_of_id
from api.identity.service import IdentityService
from config.settings import Settings
from tests.caller import Caller
from tests.doctor.asking import bad, examine, execute, make_months
from tests.running import clean_environ

_GOOD_SECRET = "p7Vn2-Xq9Lk4_Rt6Wz8Yb1Cd3Fg5Hj0Mm"  # pragma: allowlist secret


def test_what_is_wrong_in_a_database_is_named(home: Path, database: str) -> None:
    make_months(database)
    environ = clean_environ(home, DATABASE_URL=database, SECRET_KEY=_GOOD_SECRET, REDIS_URL="")
    settings = Settings.load(environ)
    app = create_app(settings)
    runtime = app.extensions["signpost"]
    runtime.start_worker()
    caller = Caller.of_new_workspace(app, IdentityService(runtime.db, _GOOD_SECRET.encode()))
    link = caller.create_link()
    runtime.stop_worker()
    ahead = partition_name(next_month(month_of(datetime.now(UTC))))
    slot = slot_of_id(int(link["id"]))
    execute(
        database,
        f"DROP TABLE {ahead}",
        # This link is where the map does not say.
        "INSERT INTO shards (name, url) VALUES ('second', NULL)",
        f"INSERT INTO slots (slot, shard) VALUES ({slot}, 'second'), ({slot ^ 1}, 'nowhere')",
        "INSERT INTO slot_moves (source, target, ranges, step, stepped_at)"
        " VALUES ('main', 'second', '[[1, 2]]', 'copying', now() - interval '2 hours')",
        "INSERT INTO audit_events (id, at, action, actor_kind, details)"
        " VALUES (1, now() - interval '31 hours', 'backup.make', 'operator', '{}')",
        f"UPDATE alembic_version_shard SET version_num = '{revisions('shard')[-2]}'",
        # A server whose clock is a minute ahead: what the name means is looked up by this path.
        "CREATE SCHEMA skewed",
        "CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
        " AS $$ SELECT pg_catalog.clock_timestamp() + interval '1 minute' $$",
        f'ALTER DATABASE "{make_url(database).database}" SET search_path'
        " = skewed, pg_catalog, public",
    )
    environ |= {"WEB_CONCURRENCY": "500", "DATABASE_REPLICA_URLS": database}

    status, findings = examine(environ)

    assert status == 1
    schema = findings["schema main"]
    assert (schema["status"], schema["command"]) == ("wrong", "scripts/migrate")
    assert f"1 pending: {revisions('shard')[-1]}" in schema["found"]
    assert findings["months on main"]["found"] == f"missing: {ahead}"
    assert findings["clock of main"]["status"] == "wrong"
    assert findings["clock of main"]["found"].startswith(("60000 ms ahead", "59999", "60001"))
    assert findings["database second"]["found"] == "this shard has no address"
    assert "1 of nowhere" in findings["slot map"]["found"]
    assert findings["links on main"]["status"] == "wrong"
    assert findings["links on main"]["command"] == "scripts/shards verify"
    move = next(it for name, it in findings.items() if name.startswith("move "))
    assert (move["status"], move["command"]) == ("warning", "scripts/shards move --resume")
    backup = findings["last backup"]
    assert (backup["status"], backup["command"]) == ("warning", "scripts/backup --verify")
    replica = findings["replica main-replica-1"]
    assert (replica["status"], replica["found"]) == ("wrong", "it is a primary itself")
    connections = findings["connections of main, main-replica-1"]
    assert connections["status"] == "warning"
    assert "Lower DB_POOL_SIZE" in connections["advice"]


def test_months_past_their_retention_and_strays_are_named(home: Path, database: str) -> None:
    make_months(database)
    old = month_of(datetime.now(UTC) - timedelta(days=200))
    partition = "CREATE TABLE {} PARTITION OF clicks"
    between = f" FOR VALUES FROM ('{old}') TO ('{next_month(old)}')"
    execute(database, partition.format(partition_name(old)) + between)
    environ = clean_environ(home, DATABASE_URL=database, REDIS_URL="")
    only = ("--only", "partitions")
    # Kept for ever, then for a hundred days.
    assert bad(examine(environ, *only)[1]) == {}
    _, findings = examine(environ | {"CLICK_RETENTION_DAYS": "100"}, *only)
    months = findings["months on main"]
    assert months["found"] == f"past their retention: {partition_name(old)}"
    assert months["command"] == "scripts/purge"
    execute(database, partition.format("clicks_default") + " DEFAULT")
    assert bad(examine(environ, *only)[1]) == {}
    execute(
        database,
        "INSERT INTO clicks_default (slot, id, link_id, workspace_id, clicked_at, visitor, bot)"
        " VALUES (1, 1, 1, 1, '2001-01-01', 1, false)",
    )
    assert "clicks_default has clicks" in examine(environ, *only)[1]["months on main"]["found"]
