"""psycopg2 under gevent: each case runs in a process of its own, as patching cannot be undone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_PRELUDE = """
from gevent import monkey; monkey.patch_all()
import sys, time, socket, gevent, psycopg2
from api.core.database.gevent_wait import install
install()
url = sys.argv[1]
"""


def _run(url: str, program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + program, url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def plain_url(database_url: str) -> str:
    return database_url.replace("+psycopg2", "")


def test_queries_of_many_greenlets_run_at_the_same_time(plain_url: str) -> None:
    program = """
def query():
    connection = psycopg2.connect(url)
    connection.cursor().execute("SELECT pg_sleep(0.3)")
    connection.close()
started = time.monotonic()
gevent.joinall([gevent.spawn(query) for _ in range(10)], raise_error=True)
print(time.monotonic() - started < 1.5)
"""
    assert _run(plain_url, program) == "True"


def test_killed_greenlet_leaves_no_statement_running(plain_url: str) -> None:
    program = """
def query():
    psycopg2.connect(url).cursor().execute("SELECT pg_sleep(30) /* victim */")
watcher = psycopg2.connect(url)
watcher.autocommit = True
cursor = watcher.cursor()
def running():
    cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%30) /* victim */%'"
                   " AND state = 'active' AND pid <> pg_backend_pid()")
    return cursor.fetchone()[0]
greenlet = gevent.spawn(query)
while not running():
    gevent.sleep(0.02)
greenlet.kill()
for _ in range(100):
    if not running():
        break
    gevent.sleep(0.02)
print(running())
"""
    assert _run(plain_url, program) == "0"


def test_server_that_never_answers_is_given_up_at_the_connect_timeout(plain_url: str) -> None:
    program = """
silent = socket.create_server(("127.0.0.1", 0))
port = silent.getsockname()[1]
started = time.monotonic()
try:
    psycopg2.connect(host="127.0.0.1", port=port, dbname="x", connect_timeout=1)
except psycopg2.OperationalError:
    print(0.9 < time.monotonic() - started < 5)
"""
    assert _run(plain_url, program) == "True"
