"""scripts/doctor: what is said of a good installation, and that nothing holds it up."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from api.core.database.lineages import revisions
from api.operations.doctor import examination
from api.operations.doctor.examination import for_each
from api.operations.doctor.finding import Finding, Look, ok
from api.operations.doctor.subject import Subject
from tests.doctor.asking import bad, examine, make_months
from tests.running import clean_environ
from tests.scripting import run_script

_GOOD_SECRET = "p7Vn2-Xq9Lk4_Rt6Wz8Yb1Cd3Fg5Hj0Mm"  # pragma: allowlist secret


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


def newest() -> list[str]:
    return [revisions(lineage)[-1] for lineage in ("directory", "shard")]


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


def test_of_several_servers_the_one_that_hangs_is_named() -> None:
    def ask(name: str) -> Iterator[Finding]:
        yield ok(f"first of {name}", "there")
        if name == "slow":
            time.sleep(5)
        yield ok(f"last of {name}", "there")

    subject = Subject({})
    look = Look("servers", "servers", lambda it: for_each(it, ["one", "slow", "other"], ask))
    began = time.monotonic()
    told = examination.examine(subject, [look], 0.5)
    assert time.monotonic() - began < 2
    assert [(finding.check, str(finding.status)) for _, finding in told] == [
        ("first of one", "ok"),
        ("last of one", "ok"),
        ("first of slow", "ok"),
        ("slow", "wrong"),
        ("first of other", "ok"),
        ("last of other", "ok"),
    ]


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
