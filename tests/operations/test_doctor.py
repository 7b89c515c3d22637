"""scripts/doctor: what is broken for real is named, with what to do; and it never hangs."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import trustme
from sqlalchemy import make_url

from api.app import create_app
from api.clicks.folder import new_segment_id
from api.clicks.months import month_of, next_month, partition_name
from api.core.database.lineages import revisions
from api.core.database.migrate import migrate
from api.core.ids import slot_of_id
from api.identity.service import IdentityService
from config.settings import Settings
from tests.caller import Caller
from tests.clicks.brokers import channel_of, new_broker, put_into
from tests.conftest import new_database
from tests.factories.clicks import a_click, a_segment
from tests.running import clean_environ
from tests.scripting import run_script

Findings = dict[str, dict[str, str]]
_GOOD_SECRET = "p7Vn2-Xq9Lk4_Rt6Wz8Yb1Cd3Fg5Hj0Mm"


@pytest.fixture
def database() -> Iterator[str]:
    """A migrated database of a test's own."""
    with new_database() as url:
        migrate(Settings.load({"DATABASE_URL": url}), report=lambda line: None)
        yield url


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / "spool").mkdir(parents=True, mode=0o700)
    return folder


def examine(environ: dict[str, str], *options: str) -> tuple[int, Findings]:
    """The exit status, and the findings by the names of the checks."""
    done = run_script("doctor", "--json", *options, env=environ, timeout=40)
    assert not done.stderr, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert sum(told["counts"].values()) == len(told["findings"])
    return done.returncode, {finding["check"]: finding for finding in told["findings"]}


def execute(url: str, *statements: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def bad(findings: Findings) -> dict[str, str]:
    return {name: it["status"] for name, it in findings.items() if it["status"] != "ok"}


def test_nothing_is_wrong_with_a_good_database(home: Path, database: str) -> None:
    make_months(database)
    environ = clean_environ(
        home,
        DATABASE_URL=database,
        REDIS_URL=os.environ["TEST_REDIS_URL"],
        SECRET_KEY=_GOOD_SECRET,
        BASE_URL="http://sign.test:8000",
    )
    before = sorted(home.rglob("*"))
    status, findings = examine(environ)
    # Nothing is served here, which may be as it should.
    assert bad(findings) == {"web": "warning", "clicks": "warning"}
    assert status == 0
    assert findings["database main"]["found"].startswith("primary at ")
    assert findings["schema main"]["found"] == f"at {', '.join(newest())}"
    assert examine(environ, "--strict")[0] == 1
    assert examine(environ, "--strict", "--only", "migrations", "--only", "clock")[0] == 0
    assert sorted(home.rglob("*")) == before


def make_months(url: str) -> None:
    month = month_of(datetime.now(UTC))
    for _ in range(3):
        execute(
            url,
            f"CREATE TABLE IF NOT EXISTS {partition_name(month)} PARTITION OF clicks"
            f" FOR VALUES FROM ('{month}') TO ('{next_month(month)}')",
        )
        month = next_month(month)


def newest() -> list[str]:
    return [revisions(lineage)[-1] for lineage in ("directory", "shard")]


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


def test_settings_are_named_one_by_one(home: Path) -> None:
    for name in ("secret.key", "admin.key"):
        (home / name).write_text("x" * 64)
        (home / name).chmod(0o644 if name == "admin.key" else 0o600)
    environ = clean_environ(
        home,
        PORT="eighty",
        DB_POOL_SIZE="0",
        DATABASE_URI="postgresql://nobody@127.0.0.1/none",
        SIGNPOST_HOMES="x",
        SIGNPOST_SERVICE_HOST="10.0.0.1",  # Kubernetes' own
        TLS_KEY=str(home / "admin.key"),
        METRICS_TOKEN="changeme-changeme",
        SECRET_KEY="k3Jd9sLq0vBn5Xz7",
        BASE_URL="https://go.example.com",
    )
    status, findings = examine(environ, "--only", "settings")
    assert status == 1
    assert bad(findings) == {
        "PORT": "wrong",
        "DB_POOL_SIZE": "wrong",
        "TLS_KEY": "wrong",
        "DATABASE_URI": "warning",
        "SIGNPOST_HOMES": "warning",
        "METRICS_TOKEN": "wrong",
        "SECRET_KEY": "warning",
        "admin.key": "wrong",
        "BASE_URL": "warning",
        "capacity": "unknown",
    }
    assert "Is DATABASE_URL meant?" in findings["DATABASE_URI"]["advice"]
    assert findings["admin.key"]["command"] == f"chmod 600 {home / 'admin.key'}"
    assert "There is no TLS_CERTIFICATE" in findings["TLS_KEY"]["found"]
    assert "TRUSTED_PROXIES" in findings["BASE_URL"]["advice"]


def test_clicks_that_wait_or_are_lost_are_told_of(home: Path) -> None:
    spool = home / "spool"
    spool.chmod(0o755)
    ten_minutes_ago = int((time.time() - 600) * 1000)
    (spool / f"{new_segment_id(ten_minutes_ago)}.ready").write_bytes(b"x" * 1_000_001)
    # Nobody holds its lock: its writer is dead.
    (spool / f"{new_segment_id(ten_minutes_ago)}.open").write_bytes(b"x")
    (spool / "rejected").mkdir()
    (spool / "rejected" / f"{new_segment_id(ten_minutes_ago)}.ready").write_bytes(b"x")
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    (spool / "lost").write_text(f'{{"from":"{now}","to":"{now}","clicks":7}}\n{{"fr')
    before = sorted(home.rglob("*"))

    environ = clean_environ(home, SPOOL_MAX_BYTES="1000000")
    status, findings = examine(environ, "--only", "disk")

    assert status == 1
    assert bad(findings) == {
        "spool": "warning",
        "waiting clicks": "wrong",
        "orphaned segments": "warning",
        "rejected": "warning",
        "lost clicks": "wrong",
    }
    assert findings["spool"]["command"] == f"chmod 700 {spool}"
    assert findings["waiting clicks"]["found"].endswith("wait, the oldest for 600 s")
    assert findings["rejected"]["command"] == "scripts/dead-letters --spool list"
    assert findings["lost clicks"]["found"].startswith("7 in all, the last at ")
    assert sorted(home.rglob("*")) == before
    # A disk that is smaller than what the spool may take.
    _, findings = examine(environ | {"SPOOL_MAX_BYTES": str(1 << 60)}, "--only", "disk")
    assert findings["space"]["status"] == "warning"
    assert "lower SPOOL_MAX_BYTES" in findings["space"]["advice"]


def test_certificates_that_end_or_do_not_fit_are_named(home: Path) -> None:
    authority, now = trustme.CA(), datetime.now(UTC)

    def issue(name: str, days: float) -> tuple[Path, Path]:
        made = authority.issue_cert(
            name, not_before=now - timedelta(days=90), not_after=now + timedelta(days=days)
        )
        files = home / f"{name}.pem", home / f"{name}.key"
        made.cert_chain_pems[0].write_to_path(str(files[0]))
        made.private_key_pem.write_to_path(str(files[1]))
        files[1].chmod(0o600)
        return files

    authority.cert_pem.write_to_path(str(home / "ca.pem"))
    good, soon, over = issue("good.test", 60), issue("soon.test", 7), issue("over.test", -1)
    soon[1].chmod(0o604)
    chain = home / "chain.pem"
    chain.write_bytes(good[0].read_bytes() + soon[0].read_bytes())
    environ = clean_environ(
        home,
        TLS_CERTIFICATE=str(chain),
        TLS_KEY=str(soon[1]),
        BASE_URL="https://other.test",
        DATABASE_URL="postgresql://nobody@127.0.0.1:1/none?sslmode=verify-full"
        f"&sslrootcert={home / 'ca.pem'}&sslcert={over[0]}&sslkey={over[1]}",
        REDIS_URL=f"rediss://127.0.0.1:1/0?ssl_certfile={good[0]}&ssl_keyfile={good[1]}",
    )
    status, findings = examine(environ, "--only", "certificates")
    assert status == 1
    assert bad(findings) == {
        "TLS_CERTIFICATE": "warning",
        "key of TLS_CERTIFICATE": "wrong",
        "chain of TLS_CERTIFICATE": "wrong",
        "name in TLS_CERTIFICATE": "warning",
        "DATABASE_URL": "wrong",
        "certificate of main": "unknown",
        "certificate of redis": "unknown",
    }
    assert ", 7 days" in findings["TLS_CERTIFICATE"]["found"]
    assert f"{over[0]} expired on " in findings["DATABASE_URL"]["found"]
    assert (
        findings["REDIS_URL"]["status"] == findings["authority of DATABASE_URL"]["status"] == "ok"
    )


def test_a_server_whose_certificate_is_over_is_named(home: Path) -> None:
    now = datetime.now(UTC)
    made = trustme.CA().issue_cert("localhost", not_before=now - timedelta(days=9), not_after=now)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.configure_cert(context)

    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                with suppress(ssl.SSLError), server.accept()[0] as plain:
                    context.wrap_socket(plain, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        port = server.getsockname()[1]
        environ = clean_environ(home, REDIS_URL=f"rediss://127.0.0.1:{port}/0")
        found = examine(environ, "--only", "certificates")[1]["certificate of redis"]
    assert found["status"] == "wrong"
    assert f"127.0.0.1:{port} expired on {now:%Y-%m-%d}" in found["found"]


@pytest.mark.rabbitmq
def test_queues_are_told_of(home: Path) -> None:
    with new_broker() as broker:
        environ = clean_environ(home, AMQP_URL=broker.url, AMQP_QUEUE=broker.queue)
        only = ("--only", "connections")
        name = f"queue {broker.queue}"
        assert examine(environ, *only)[1][name]["status"] == "warning"
        assert examine(environ, *only)[1]["dead letters"]["found"] == "none"

        segment = a_segment([a_click(1)])
        put_into(broker, segment)
        with channel_of(broker) as channel:
            channel.confirm_delivery()
            broker.bury(channel, segment.name, segment.body, "as a test wants it")
        _, findings = examine(environ, *only)
        assert findings["broker"]["found"].startswith("RabbitMQ 3.")
        assert findings[name]["found"] == "1 segments wait, 0 consumers"
        assert (findings[name]["status"], findings[name]["command"]) == (
            "wrong",
            "scripts/consume-clicks",
        )
        letters = findings["dead letters"]
        assert (letters["status"], letters["command"]) == ("warning", "scripts/dead-letters list")

        other = environ | {"AMQP_MAX_QUEUE_BYTES": "5000000"}
        assert "inequivalent arg" in examine(other, *only)[1][name]["found"]
        absent = environ | {"AMQP_QUEUE": f"{broker.queue}.none"}
        assert "not there yet" in examine(absent, *only)[1][f"{name}.none"]["found"]
        # It looked, and made nothing.
        assert "not there yet" in examine(absent, *only)[1][f"{name}.none"]["found"]
        wrong = environ | {"AMQP_URL": broker.url.replace("guest:guest@", "guest:wrong@")}
        refused = examine(wrong, *only)[1]["broker"]
        assert "Correct the user and the password in AMQP_URL" in refused["advice"]
        assert "wrong" not in refused["found"]


def test_refusals_are_explained(home: Path) -> None:
    url = make_url(os.environ["TEST_DATABASE_URL"]).set(drivername="postgresql")
    redis = os.environ["TEST_REDIS_URL"].replace("redis://", "redis://nobody:nothing@")

    def refusal(**settings: str) -> Findings:
        return examine(clean_environ(home, **settings), "--only", "connections")[1]

    stranger = url.set(username="no_such_role").render_as_string(hide_password=False)
    findings = refusal(DATABASE_URL=stranger, REDIS_URL=redis)
    assert 'role "no_such_role" does not exist' in findings["database main"]["found"]
    assert "Make the role" in findings["database main"]["advice"]
    assert findings["redis"]["status"] == "wrong"
    assert "the password in REDIS_URL" in findings["redis"]["advice"]
    assert "nothing" not in str(findings)
    nowhere = url.set(database="no_such_database").render_as_string(hide_password=False)
    assert "createdb" in refusal(DATABASE_URL=nowhere)["database main"]["advice"]
    assert "scripts/start" in refusal()["database main"]["command"]


def test_servers_that_hang_do_not_hang_it(home: Path) -> None:
    with ExitStack() as stack:

        def silent() -> int:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port: int = server.getsockname()[1]
            return port

        environ = clean_environ(
            home,
            DATABASE_URL=f"postgresql://nobody@127.0.0.1:{silent()}/none",
            DATABASE_REPLICA_URLS=f"postgresql://nobody@127.0.0.1:{silent()}/none",
            REDIS_URL=f"redis://127.0.0.1:{silent()}/0",
            AMQP_URL=f"amqp://127.0.0.1:{silent()}/",
        )
        began = time.monotonic()
        status, findings = examine(environ, "--deadline", "4")
        assert time.monotonic() - began < 8
    assert status == 1
    for name in ("database main", "redis", "broker"):
        assert findings[name]["status"] == "wrong", name
        assert findings[name]["advice"], name
    assert findings["python"]["status"] == "ok"


def test_it_reads_well(home: Path) -> None:
    environ = clean_environ(home, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    done = run_script("doctor", "--only", "connections", env=environ)
    lines = done.stdout.splitlines()
    assert lines[0] == "connections"
    assert lines[1].split()[:3] == ["wrong", "database", "main"]
    assert "→ Start the server, or correct host and port in DATABASE_URL." in lines[2]
    assert "1 wrong" in lines[-1]
    assert done.returncode == 1
    strange = run_script("doctor", "--only", "weather", env=environ)
    assert strange.returncode == 2
    assert "there are: settings, connections, " in strange.stderr
