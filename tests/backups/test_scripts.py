"""scripts/backup and scripts/restore: what they refuse, and what is left when they are stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url

from api.core.database.backups import folder as folders
from api.core.database.backups import manifest as manifests
from api.core.database.backups import point
from api.core.database.backups.errors import Busy
from api.core.database.backups.point import take_point
from api.core.database.backups.servers import drop_database
from api.core.database.moving.peers import Peer, Peers
from config.kinds import database_url
from tests.backups.conftest import Office
from tests.backups.test_whole import into
from tests.running import ROOT, wait_until
from tests.shards.conftest import Shards

_MOVE = text(
    "INSERT INTO slot_moves (source, target, ranges) VALUES ('main', 'second', '[[0, 1]]')"
)


def tables_in(url: str) -> int:
    engine = create_engine(database_url(url))
    with engine.connect() as connection:
        found = connection.scalar(
            text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        )
    engine.dispose()
    return int(found or 0)


@pytest.fixture
def server(database_url: str) -> str:
    """A server on which databases may be made."""
    url = make_url(database_url).set(database="postgres", drivername="postgresql")
    return url.render_as_string(hide_password=False)


def scratch_left(server: str) -> int:
    """How many scratch databases nobody has dropped."""
    engine = create_engine(database_url(server))
    with engine.connect() as connection:
        query = "SELECT count(*) FROM pg_database WHERE datname LIKE 'signpost\\_scratch\\_%'"
        found = connection.scalar(text(query))
    engine.dispose()
    return int(found or 0)


def forge(backup: Path, database: str, table: str) -> None:
    """Have a backup say that other rows were there than it has."""
    manifest = manifests.read(backup)
    facts = manifest.databases[database].tables
    facts[table] = msgspec.structs.replace(facts[table], checksum="1")
    manifest.write(backup)


def wait_for_seconds(times: int) -> Iterator[None]:
    """Backups are called by the second in which they are made."""
    for _ in range(times):
        time.sleep(1)
        yield


def running_on(folder: Path) -> list[bytes]:
    """Command lines of the processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return [line for line in found if os.fsencode(folder) in line]


def fill(connection: Connection, rows: int) -> None:
    """Rows that take a while to be copied."""
    connection.execute(
        text(
            "INSERT INTO ingested_segments (slot, segment_id)"
            " SELECT 1, md5(number::text) FROM generate_series(1, :rows) AS number"
        ),
        {"rows": rows},
    )


def test_a_backup_is_private_and_refused_where_it_is_damaged(
    shards: Shards, office: Office, empty: Callable[[], dict[str, str]]
) -> None:
    caller = shards.caller()
    links = [caller.create_link(f"https://example.com/{number}") for number in range(8)]
    path = Path(office.backup()["path"])
    paths = [path, *path.rglob("*")]
    assert {stat.S_IMODE(it.stat().st_mode) for it in paths if it.is_dir()} == {0o700}
    assert {stat.S_IMODE(it.stat().st_mode) for it in paths if it.is_file()} == {0o600}
    listed = json.loads(office.run("backup", "list", "--to", office.place, "--json"))["backups"]
    assert [it["path"] for it in listed] == [str(path)]
    assert listed[0]["rows"] > len(links)

    # A copy of which one byte is another.
    manifest = path / "manifest.json"
    facts = json.loads(manifest.read_text())
    largest = max(facts["files"], key=lambda name: facts["files"][name]["size_bytes"])
    whole = (path / largest).read_bytes()
    urls = empty()
    (path / largest).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert f"{largest} is not what it was" in office.run("restore", path, *into(urls), status=1)
    (path / largest).unlink()
    assert f"{largest} is missing" in office.run("backup", "check", path, status=1)
    (path / largest).write_bytes(whole)
    # Rows that are not those that were there, in a backup that is as it was made.
    forge(path, "second", "links")
    refused = office.run("restore", path, *into(urls), status=1)
    assert "second: what was restored differs in links" in refused
    assert [tables_in(url) for url in urls.values()] == [0, 0]
    manifest.write_text(manifest.read_text().replace('"tries": 1', '"tries": 2'))
    assert "is not what it was" in office.run("restore", path, *into(urls), status=1)
    manifest.write_text("{")
    assert "cannot be read" in office.run("restore", path, *into(urls), status=1)


@pytest.mark.slow
def test_backups_as_files_are_checked_verified_and_few(
    shards: Shards, office: Office, server: str, tmp_path: Path
) -> None:
    first, second = (Path(office.backup("--tar")["path"]) for _ in wait_for_seconds(2))
    office.run("backup", "check", first)
    assert "can be restored" in office.run("restore", first, "--verify", "--scratch", server)
    assert "no --replace" in office.run("restore", first, "--verify", "--replace", status=2)
    with first.open("r+b") as stream:
        stream.truncate(first.stat().st_size // 2)
    assert "cannot be unpacked" in office.run("backup", "check", first, status=1)
    next(wait_for_seconds(1))
    passphrase, wrong = tmp_path / "passphrase", tmp_path / "wrong"
    passphrase.write_text("a long one of five words\n")
    wrong.write_text("another\n")
    sealed = ("--with-keys", "--passphrase-file")
    verified = ("--verify", "--scratch", server)
    said = office.backup("--keep", 2, *verified, *sealed, passphrase)
    assert said["verified_at"] is not None
    assert "cannot be opened" in office.run(
        "restore", said["path"], "--dry-run", *sealed, wrong, status=1
    )
    assert said["deleted"] == [str(first)]
    assert sorted(office.place.iterdir()) == [second, Path(said["path"])]
    forge(Path(said["path"]), "main", "workspaces")
    refused = office.run("restore", said["path"], "--verify", "--scratch", server, status=1)
    assert "main: what was restored differs in workspaces" in refused
    # Those of other tests go, too.
    wait_until(lambda: scratch_left(server) == 0)


def test_a_backup_that_was_killed_leaves_nothing_that_looks_like_one(
    shards: Shards, office: Office
) -> None:
    with shards.engines["main"].begin() as connection:
        fill(connection, 100_000)
    arguments = [sys.executable, ROOT / "scripts" / "backup", "--to", office.place]
    process = subprocess.Popen(arguments, env=os.environ | office.environ, cwd=ROOT)
    # It is in the middle of a table.
    while not [it for it in office.place.rglob("*.dat.gz") if it.stat().st_size]:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert folders.find_backups(office.place) == []
    assert "no backups" in office.run("backup", "list", "--to", office.place)
    # Its pg_dump ends with it, and the next one clears up.
    (left,) = office.place.iterdir()
    wait_until(lambda: not running_on(left))
    office.run("restore", left, "--dry-run", status=1)
    office.backup()
    assert not left.exists()
    assert len(list(office.place.iterdir())) == 1


def test_who_writes_is_waited_for_and_no_longer_than_they_would_wait(
    shards: Shards, office: Office
) -> None:
    peers = Peers(shards.settings)
    both = [peers.main, Peer("second", str(shards.engines["second"].url))]
    caller = shards.caller()
    with shards.engines["second"].connect() as writer:
        writer.execute(text("UPDATE links SET title = 'x'"))
        with pytest.raises(Busy, match="second"), take_point(both, 0):
            pass
        # Nobody is kept waiting afterwards, and it is tried until it can be had.
        caller.create_link()
        why: list[str] = []

        def on_busy(reason: str) -> None:
            why.append(reason)
            writer.rollback()

        with take_point(both, 30, on_busy) as taken:
            caller.create_link()
        assert taken.tries == 2
        assert len(why) == 1
    with shards.engines["main"].connect() as chore:
        chore.execute(text("LOCK TABLE links IN SHARE UPDATE EXCLUSIVE MODE"))
        assert "vacuums it" in office.run("backup", "--to", office.place, "--patience", 0, status=1)
    with shards.engines["main"].begin() as connection:
        connection.execute(_MOVE)
    assert "resume or abort" in office.run("backup", "--to", office.place, status=1)
    assert list(office.place.iterdir()) == []


def test_snapshots_are_of_one_moment_however_late_one_of_them_is_taken(
    shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number is written to `main`, then to `second`, then the next one; without a pause."""
    both = [Peer(name, str(engine.url)) for name, engine in shards.engines.items()]
    for engine in shards.engines.values():
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE chain AS SELECT 0 AS number"))
    stopped, written = threading.Event(), [0]

    def write() -> None:
        while not stopped.is_set():
            written[0] += 1
            for engine in shards.engines.values():
                with engine.begin() as connection:
                    connection.execute(text(f"UPDATE chain SET number = {written[0]}"))

    def read_late(name: str, *arguments: Any) -> Any:
        time.sleep(0.3 if name == "second" else 0.0)
        return read_from_now_on(name, *arguments)

    read_from_now_on = point._read_from_now_on
    monkeypatch.setattr(point, "_read_from_now_on", read_late)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: written[0] > 10)
        with take_point(both, 30) as found:
            there = written[0]
            wait_until(lambda: written[0] > there + 10)
            query = text("SELECT number FROM chain")
            main, second = (it.connection.scalar(query) for it in found.snapshots)
            assert main - second in (0, 1)
    finally:
        stopped.set()
        writer.join()


def test_what_is_there_is_replaced_only_on_demand_and_kept(shards: Shards, office: Office) -> None:
    caller = shards.caller()
    kept = caller.create_link("https://example.com/kept")
    path = office.backup()["path"]
    later = caller.create_link("https://example.com/later")
    assert caller.patch(f"/links/{kept['id']}", {"title": "changed"}).status_code == 200
    assert "not empty" in office.run("restore", path, status=1)
    assert "Aborted" in office.run("restore", path, "--replace", status=1)
    assert office.restore(path, "--replace", "--dry-run")["into"].keys() == {"main", "second"}
    assert caller.get(f"/links/{later['id']}").status_code == 200

    said = office.restore(path, "--replace", "--yes")
    assert said["same_secret_key"]
    # The processes that were running find it, and what it replaced is still to be had.
    assert caller.get(f"/links/{kept['id']}").json["title"] is None
    assert caller.get(f"/links/{later['id']}").status_code == 404
    old = create_engine(shards.engines["main"].url.set(database=said["kept"]["main"]))
    with old.connect() as connection:
        events = text("SELECT count(*) FROM audit_events WHERE action = 'backup.make'")
        assert connection.scalar(events) == 1
    old.dispose()
    for name, database in said["kept"].items():
        drop_database(str(shards.engines[name].url), database)


@pytest.mark.slow
def test_a_restore_that_was_killed_is_begun_again(
    shards: Shards, office: Office, empty: Callable[[], dict[str, str]]
) -> None:
    with shards.engines["main"].begin() as connection:
        fill(connection, 200_000)
    path = office.backup()["path"]
    urls = empty()
    arguments = [sys.executable, ROOT / "scripts" / "restore", path, *into(urls)]
    process = subprocess.Popen(arguments, env=os.environ | office.environ, cwd=ROOT)
    # Seen from elsewhere, as nobody else may be connected there.
    restoring = text(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'signpost-backup'"
        " AND datname = :name AND query LIKE 'COPY%'"
    )
    name = make_url(urls["main"]).database
    with shards.engines["second"].connect() as connection:
        while not connection.scalar(restoring, {"name": name}):
            assert process.poll() is None
            connection.rollback()
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    wait_until(lambda: not running_on(Path(path)))
    assert office.restore(path, *into(urls))["rows"] > 200_000
