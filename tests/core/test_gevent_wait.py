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


def _run(url: str, program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + program, url, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


_DATABASE = """
from sqlalchemy import bindparam, func, select, text
from api.core.database.prepared import Question
from api.core.database.routing import Database
from config.settings import Settings
db = Database(Settings.load({"DATABASE_URL": url, "DB_POOL_SIZE": "1", "DB_MAX_OVERFLOW": "0"}))
PID = select(func.pg_backend_pid().label("pid"))
NAP = select(func.pg_sleep(30).label("a_victim_of_time"))
ASK_PID, ASK_NAP = Question(PID), Question(NAP)
server = db.servers()[0]
watcher = psycopg2.connect(url)
watcher.autocommit = True
cursor = watcher.cursor()
def running():
    cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%a_victim_of_time%'"
                   " AND state = 'active' AND pid <> pg_backend_pid()")
    return cursor.fetchone()[0]
"""


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


_SESSION = """
def pid():
    with db.write(0) as session:
        return session.scalar(PID)
def nap():
    with db.write(0) as session:
        session.execute(NAP)
"""
_STATEMENT = """
def pid():
    with db.read_once(0) as connection:
        return connection.ask_one(ASK_PID).pid
def nap():
    with db.read_once(0) as connection:
        connection.ask(ASK_NAP)
"""


@pytest.mark.parametrize("way", [_SESSION, _STATEMENT], ids=["session", "statement"])
@pytest.mark.parametrize("end", ["timeout", "kill"])
def test_connection_whose_statement_was_given_up_is_not_used_again(
    plain_url: str, way: str, end: str
) -> None:
    program = """
first = pid()
print(pid() == first)
if sys.argv[2] == "timeout":
    try:
        with gevent.Timeout(0.3):
            nap()
    except gevent.Timeout:
        print("given up")
else:
    napping = gevent.spawn(nap)
    while not running():
        gevent.sleep(0.02)
    napping.kill()
    print("given up")
print(pid() != first)
for _ in range(100):
    if not running():
        break
    gevent.sleep(0.02)
print(running())
print({state.checked_out for state in server.pools().values()})
"""
    answer = _run(plain_url, _DATABASE + way + program, end)
    assert answer.split("\n") == ["True", "given up", "True", "0", "{0}"]


def test_server_that_is_frozen_holds_up_nobody_who_gives_up(plain_url: str) -> None:
    # It takes a connection, and whatever else knocks is left without an answer.
    program = """
from urllib.parse import urlsplit
real = urlsplit(url)
door = socket.create_server(("127.0.0.1", 0))
def relay(one, other):
    while data := one.recv(65536):
        other.sendall(data)
def serve():
    client, _ = door.accept()
    server = socket.create_connection((real.hostname, real.port))
    gevent.spawn(relay, client, server)
    gevent.spawn(relay, server, client)
gevent.spawn(serve)
connection = psycopg2.connect(url.replace(str(real.port), str(door.getsockname()[1]), 1))
turns = []
def work():
    while True:
        turns.append(time.monotonic())
        gevent.sleep(0.05)
working = gevent.spawn(work)
try:
    with gevent.Timeout(0.3):
        connection.cursor().execute("SELECT pg_sleep(30)")
except gevent.Timeout:
    print("given up")
print(max(later - one for one, later in zip(turns, turns[1:])) < 0.5)
print(turns[-1] - turns[0] < 3, connection.closed != 0)
"""
    assert _run(plain_url, program).split("\n") == ["given up", "True", "True True"]


def test_turn_of_a_waiter_that_is_killed_goes_to_the_next(plain_url: str) -> None:
    program = """
got = []
def ask(name):
    with db.read_once(0) as connection:
        connection.ask_one(ASK_PID)
        got.append(name)
with db.read_once(0):
    first, second = gevent.spawn(ask, "first"), gevent.spawn(ask, "second")
    gevent.sleep(0.1)
    print(server.pools()["statements"].waiting)
started = time.monotonic()
first.kill(block=False)
second.join()
print(got, time.monotonic() - started < 1, server.pools()["statements"].waiting)
"""
    answer = _run(plain_url, _DATABASE + program).split("\n")
    assert answer == ["2", "['second'] True 0"]


@pytest.mark.parametrize("way", [_SESSION, _STATEMENT], ids=["session", "statement"])
def test_who_is_killed_while_a_doubtful_connection_is_asked_leaves_its_place(
    plain_url: str, way: str
) -> None:
    program = """
from api.core.database.connections import Held
first = pid()
asks, Held.is_usable = Held.is_usable, lambda held: gevent.sleep(30)
asking = gevent.spawn(pid)
gevent.sleep(0.1)
asking.kill()
Held.is_usable = asks
print({state.checked_out for state in server.pools().values()}, pid() != first)
"""
    assert _run(plain_url, _DATABASE + way + program) == "{0} True"
