"""Databases that may be at any of several hosts."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from api.core.database.hosts import Hosts
from config.settings import Settings, SettingsError

ROOT = Path(__file__).resolve().parents[2]
READ_WRITE = {"target_session_attrs": "read-write"}


@pytest.mark.parametrize(
    ("given", "host", "port", "database"),
    [
        ("postgresql://a:5433,b/db", "a,b", "5433,5432", "db"),
        ("postgres://u:p%2C@a,b:5433/db?target_session_attrs=read-write", "a,b", "5432,5433", "db"),
        ("postgresql://u@[::1]:5433,[fe80::2]/db", "::1,fe80::2", "5433,5432", "db"),
        ("postgresql://a,b?application_name=it", "a,b", "5432,5432", ""),
    ],
)
def test_urls_with_several_hosts_mean_the_same_to_libpq(
    given: str, host: str, port: str, database: str
) -> None:
    url = make_url(str(Settings.load({"DATABASE_URL": given}).database_url))
    assert (url.database or "") == database
    _, named = url.get_dialect()().create_connect_args(url)
    assert (named["host"], named["port"]) == (host, port)
    # libpq reads the URL that is kept as it reads the one that was given.
    kept = url.set(drivername="postgresql").render_as_string(hide_password=False)
    told = psycopg2.extensions.parse_dsn(kept)
    asked = psycopg2.extensions.parse_dsn(given)
    assert told["port"].replace("5432", "") == asked.get("port", ",").replace("5432", "")
    assert {**told, "port": ""} == {**asked, "port": ""}


@pytest.mark.parametrize("given", ["postgresql://a:x,b/db", "postgresql://a,,b/db"])
def test_hosts_that_are_none_stop_the_start(given: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        Settings.load({"DATABASE_URL": given})


def test_lists_of_urls_may_have_urls_of_several_hosts() -> None:
    settings = Settings.load(
        {
            "DATABASE_REPLICA_URLS": "postgresql://postgres-a,postgres-b/db, postgres://c/db",
            "SHARD_REPLICA_URLS": "north=postgresql://d,e/db,north=postgresql://f/db",
        }
    )
    assert settings.database_replica_urls == (
        "postgresql+psycopg2:///db?host=postgres-a,postgres-b&port=5432,5432",
        "postgresql+psycopg2://c/db",
    )
    assert [name for name, _ in settings.shard_replica_urls] == ["north", "north"]


@pytest.fixture
def parameters(database_url: str) -> dict[str, str]:
    url = make_url(database_url)
    return {"dbname": str(url.database), "user": str(url.username), "password": url.password or ""}


def test_the_host_that_answers_is_asked_first_the_next_time(
    database_url: str, parameters: dict[str, str]
) -> None:
    url = make_url(database_url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ports = f"{silent.getsockname()[1]},{url.port}"
        hosts = Hosts(
            parameters
            | READ_WRITE
            | {"host": f"127.0.0.1,{url.host}", "port": ports, "connect_timeout": "2"}
        )
        took = []
        for _ in range(2):
            started = time.monotonic()
            hosts.connect().close()
            took.append(time.monotonic() - started)
    assert took[0] > 1 > took[1]


def test_a_host_that_is_only_read_is_passed_by(
    database_url: str, parameters: dict[str, str]
) -> None:
    url = make_url(database_url)
    hosts = Hosts(
        parameters
        | READ_WRITE
        | {
            "host": f"{url.host},{url.host}",
            "port": f"{url.port},{url.port}",
            "options": "-c default_transaction_read_only=on",
        }
    )
    with pytest.raises(psycopg2.OperationalError, match=r"read-only.*; .*read-only"):
        hosts.connect()


def test_under_gevent_each_host_has_a_deadline_of_its_own(database_url: str) -> None:
    program = """
from gevent import monkey; monkey.patch_all()
import socket, sys, time, gevent
from sqlalchemy.engine import make_url
from api.core.database.gevent_wait import install
from api.core.database.hosts import Hosts
install()
url = make_url(sys.argv[1])
silent = socket.create_server(("127.0.0.1", 0))
hosts = Hosts({"dbname": url.database, "user": url.username, "password": url.password or "",
    "host": f"127.0.0.1,127.0.0.1,{url.host}",
    "port": f"{silent.getsockname()[1]},1,{url.port}", "connect_timeout": "1",
    "target_session_attrs": "read-write"})
turns = []
gevent.spawn(lambda: [turns.append(gevent.sleep(0.05)) for _ in range(100)])
started = time.monotonic()
connection = hosts.connect()
with connection.cursor() as cursor:
    cursor.execute("SELECT 1")
print(0.9 < time.monotonic() - started < 2, len(turns) > 10)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, database_url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "True True", done.stderr
