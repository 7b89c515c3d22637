"""The embedded PostgreSQL and Valkey, started for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import redis

from api.core.embedded import postgres, valkey
from api.core.embedded.accounts import Account
from api.core.embedded.errors import EmbeddedError
from api.core.embedded.postgres import EmbeddedPostgres
from api.core.embedded.settings import load_settings
from api.core.embedded.sockets import drop_socket_folder
from api.core.embedded.valkey import EmbeddedValkey
from config.settings import SettingsError
from tests.running import ROOT, wait_until

Server = EmbeddedPostgres | EmbeddedValkey
FORGETFUL = {"fsync": "off"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def database(home: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(home / "postgres", options=FORGETFUL, connections=150)
    server.start()
    wait_until(server.ready)
    yield server
    server.stop()


@pytest.fixture
def cache(home: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(home / "valkey")
    server.start()
    wait_until(server.ready)
    yield server
    server.stop()


def ask(url: str, statement: str) -> str:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return str(cursor.fetchone()[0])
    finally:
        connection.close()


def kill(server: Server) -> None:
    assert server.process_id is not None
    os.kill(server.process_id, signal.SIGKILL)
    wait_until(lambda: server.exit_status() is not None)


def test_database_has_the_settings_we_need(database: EmbeddedPostgres) -> None:
    def show(name: str) -> str:
        return ask(database.url, f"SHOW {name}")

    assert show("server_encoding") == "UTF8"
    assert show("data_checksums") == "on"
    assert show("wal_level") == "logical"
    assert show("max_connections") == "160"
    assert show("listen_addresses") == ""
    assert ask(database.url, "SELECT lower('ÄÖ')") == "äö"


def test_database_goes_on_after_kill_9(database: EmbeddedPostgres) -> None:
    kill(database)
    assert not database.ready()
    assert not database.responds()
    database.start()
    wait_until(database.ready)


def test_database_starts_over_a_pid_file_whose_id_was_given_away(
    database: EmbeddedPostgres, home: Path
) -> None:
    kill(database)
    pid_file = home / "postgres" / "data" / "postmaster.pid"
    lines = pid_file.read_text().split("\n", 1)
    pid_file.write_text(f"{os.getpid()}\n{lines[1]}")
    database.start()
    wait_until(database.ready)


def test_second_server_on_a_live_folder_takes_over(database: EmbeddedPostgres, home: Path) -> None:
    second = EmbeddedPostgres(home / "postgres", options=FORGETFUL)
    database._lock.release()  # as if we, who watch it, had died
    second.start()
    try:
        wait_until(second.ready)
        assert database.exit_status() is not None
    finally:
        second.stop()


def test_data_of_an_unknown_version_is_left_alone(home: Path) -> None:
    data = home / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("11\n")
    with pytest.raises(EmbeddedError, match="made by PostgreSQL 11"):
        EmbeddedPostgres(home / "postgres").start()


def test_missing_wheel_names_the_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(EmbeddedError, match="set DATABASE_URL"):
        EmbeddedPostgres(home / "postgres").start()
    with pytest.raises(EmbeddedError, match="set REDIS_URL"):
        EmbeddedValkey(home / "valkey").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account to choose")
def test_unreachable_folder_names_the_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.core.embedded.accounts._reaches", lambda *_: False)
    with pytest.raises(EmbeddedError, match="set DATABASE_URL"):
        EmbeddedPostgres(home / "postgres").start()


def test_cache_keeps_what_it_has_over_kill_9(cache: EmbeddedValkey) -> None:
    with redis.Redis.from_url(cache.url) as client:
        client.set("key", "value")
    time.sleep(1.1)  # the append-only file reaches the disk once a second
    kill(cache)
    cache.start()
    wait_until(cache.ready)
    with redis.Redis.from_url(cache.url) as client:
        assert client.get("key") == b"value"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "volatile-lru"


def test_deep_home_gets_a_short_socket_and_loses_it(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / ("deep" * 30) / "valkey")
    server.start()
    try:
        wait_until(server.ready)
        folder = valkey.find_socket_folder(tmp_path / ("deep" * 30) / "valkey")
        assert folder is not None
        assert len(str(folder)) < 60
        assert folder.stat().st_mode & 0o077 == 0
    finally:
        server.stop()
    assert not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a death")
def test_servers_end_with_a_parent_that_is_killed(home: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path;"
        "from api.core.embedded.valkey import EmbeddedValkey as V;"
        "from api.core.embedded.postgres import EmbeddedPostgres as P;"
        f"home = Path({str(home)!r}); servers = [P(home / 'postgres'), V(home / 'valkey')];"
        "[server.start() for server in servers];"
        "print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=-1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        wait_until(lambda: postgres.find_running(home / "postgres", "postgres"))
        process.kill()
    wait_until(lambda: not postgres.find_running(home / "postgres", "postgres"))
    wait_until(lambda: not valkey.find_running(home / "valkey"))
    for name in ("postgres", "valkey"):
        drop_socket_folder(home / name)  # the next start would take it over


def test_scripts_find_running_servers(
    database: EmbeddedPostgres, cache: EmbeddedValkey, home: Path
) -> None:
    settings = load_settings({"SIGNPOST_HOME": str(home)})
    assert settings.database_url is not None
    assert settings.database_url.startswith("postgresql+psycopg2://signpost@/signpost?host=")
    assert settings.redis_url == cache.url


def test_scripts_without_any_database_say_what_to_do(home: Path) -> None:
    with pytest.raises(SettingsError, match="run scripts/start"):
        load_settings({"SIGNPOST_HOME": str(home)})


def test_default_account_is_ours() -> None:
    assert Account().popen_options() == {}
    assert Account().command(["true"], signal.SIGTERM) == ["true"]
