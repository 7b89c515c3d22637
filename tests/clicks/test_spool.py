from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api.clicks.folder import OPEN, SpoolFolder
from api.clicks.losses import LostClicks
from api.clicks.records import read_segment
from api.clicks.spool import Spool, SpoolFull
from tests.factories.clicks import a_click

ROOT = Path(__file__).parents[2]


def _clicks_in(folder: SpoolFolder) -> list[int]:
    return sorted(
        record.link_id
        for path in folder.ready_segments()
        for record in read_segment(path.read_bytes()).records
    )


def _eventually(holds: Callable[[], object], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def make_spool(tmp_path: Path) -> Iterator[Callable[..., Spool]]:
    made: list[Spool] = []

    def make(
        segment_bytes: int = 1_000_000, segment_seconds: float = 60.0, max_bytes: int = 10_000
    ) -> Spool:
        spool = Spool(tmp_path / "spool", segment_bytes, segment_seconds, max_bytes)
        spool.start()
        made.append(spool)
        return spool

    yield make
    for spool in made:
        spool.close()


def test_a_click_is_in_the_file_when_record_returns(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool()

    spool.record(a_click(1))

    (path,) = spool.folder.path.glob(f"*{OPEN}")
    assert read_segment(path.read_bytes()).records[0].link_id == 1
    assert path.stat().st_mode & 0o077 == 0


def test_closing_seals(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool()
    spool.record(a_click(1))

    spool.close()

    assert _clicks_in(spool.folder) == [1]
    assert 0 <= spool.oldest_age_seconds() < 60


def test_a_segment_is_sealed_by_size(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool(segment_bytes=1000)

    for number in range(20):
        spool.record(a_click(number))

    sealed = spool.ready_segments()
    assert len(sealed) > 2
    assert all(path.stat().st_size < 1500 for path in sealed)


def test_a_segment_is_sealed_by_age(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool(segment_seconds=0.05)
    spool.record(a_click(1))

    _eventually(lambda: _clicks_in(spool.folder) == [1])

    for path in spool.ready_segments():
        path.unlink()
    spool.record(a_click(2))
    _eventually(lambda: _clicks_in(spool.folder) == [2])


def test_segments_grow_while_nobody_takes_them(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool(segment_seconds=0.02)
    end = time.monotonic() + 0.3
    number = 0
    while time.monotonic() < end:
        spool.record(a_click(number))
        number += 1
        time.sleep(0.002)

    assert len(spool.ready_segments()) <= 2
    spool.close()
    assert _clicks_in(spool.folder) == list(range(number))


def test_threads_share_a_spool(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool(segment_bytes=20_000, segment_seconds=0.01, max_bytes=10_000_000)

    def write(start: int) -> None:
        for number in range(start, start + 500):
            spool.record(a_click(number))

    threads = [threading.Thread(target=write, args=(start,)) for start in range(0, 2000, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spool.close()

    assert _clicks_in(spool.folder) == list(range(2000))


def test_past_the_bound_clicks_are_counted_as_lost(
    make_spool: Callable[..., Spool], caplog: pytest.LogCaptureFixture
) -> None:
    spool = make_spool(segment_bytes=1000, segment_seconds=0.02)
    recorded = 0
    with pytest.raises(SpoolFull):
        while True:
            spool.record(a_click(recorded))
            recorded += 1
            time.sleep(0.001)
    for _ in range(99):
        with pytest.raises(SpoolFull):
            spool.record(a_click(0))
    _eventually(lambda: spool.state().lost_clicks == 100)

    assert spool.state().full
    assert spool.state().bytes > 10_000
    assert len([row for row in caplog.records if "clicks are lost" in row.message]) == 1
    spool.close()
    assert len(_clicks_in(spool.folder)) == recorded
    written = (spool.folder.path / "lost").read_text()
    lines = [json.loads(line) for line in written.splitlines()]
    assert sum(line["clicks"] for line in lines) == 100
    assert all(line["from"] <= line["to"] for line in lines)


def test_when_there_is_room_again_clicks_are_recorded(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool(segment_bytes=1000, segment_seconds=0.02)
    with pytest.raises(SpoolFull):
        while True:
            spool.record(a_click(1))
            time.sleep(0.001)
    for path in spool.ready_segments():
        path.unlink()
    _eventually(lambda: not spool.state().full)

    spool.record(a_click(2))

    spool.close()
    assert _clicks_in(spool.folder)[-1] == 2


def test_lost_clicks_of_all_processes_are_one_sum(tmp_path: Path) -> None:
    one, other = LostClicks(tmp_path), LostClicks(tmp_path)
    one.add("full")
    one.write(at_once=True)
    other.add("full")
    other.add("full")
    other.write(at_once=True)

    assert one.total() == other.total() == 3

    (tmp_path / "lost").unlink()
    assert one.total() == 0


def test_half_a_line_ends_its_segment(
    make_spool: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make_spool()
    spool.record(a_click(1))
    whole = os.write
    with monkeypatch.context() as full_disk:
        full_disk.setattr(os, "write", lambda file, line: whole(file, line[:10]))
        with pytest.raises(OSError) as caught:
            spool.record(a_click(2))

    assert caught.value.errno == errno.ENOSPC
    spool.record(a_click(3))
    spool.close()
    assert _clicks_in(spool.folder) == [1, 3]


def test_a_disk_that_refuses_is_told_to_the_caller(
    make_spool: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make_spool()

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as full_disk:
        full_disk.setattr(os, "write", refuse)
        with pytest.raises(OSError, match="full"):
            spool.record(a_click(1))

    assert not list(spool.folder.path.glob("*.*"))
    _eventually(lambda: spool.state().lost_clicks == 1)
    spool.record(a_click(2))


def test_a_spool_that_was_not_started_refuses(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        Spool(tmp_path, 1000, 1.0, 1000).record(a_click(1))


def test_a_child_of_a_fork_must_start_for_itself(tmp_path: Path) -> None:
    program = f"""
import os, sys
from pathlib import Path
from api.clicks.spool import Spool
from tests.factories.clicks import a_click
spool = Spool(Path({str(tmp_path)!r}), 1_000_000, 60.0, 1_000_000)
spool.start()
spool.record(a_click(1))
child = os.fork()
if child == 0:
    try:
        spool.record(a_click(2))
    except RuntimeError:
        spool.start()
        spool.record(a_click(3))
        spool.close()
        os._exit(0)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
spool.close()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, check=True)

    folder = SpoolFolder(tmp_path)
    assert len(folder.ready_segments()) == 2
    assert _clicks_in(folder) == [1, 3]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has written two clicks and goes on living."""
    program = f"""
import sys, time
from pathlib import Path
from api.clicks.spool import Spool
from tests.factories.clicks import a_click
spool = Spool(Path({str(tmp_path)!r}), 1_000_000, 60.0, 1_000_000)
spool.start()
spool.record(a_click(1))
spool.record(a_click(2))
print("written", flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        yield process
        process.kill()


def test_a_living_writers_segment_is_left_alone(
    tmp_path: Path, writer: subprocess.Popen[str]
) -> None:
    folder = SpoolFolder(tmp_path)

    assert folder.adopt_orphans() == 0
    assert folder.ready_segments() == []


def test_a_killed_writers_segment_is_adopted(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    folder = SpoolFolder(tmp_path)
    writer.send_signal(signal.SIGKILL)
    writer.wait()

    assert folder.adopt_orphans() == 1
    assert _clicks_in(folder) == [1, 2]


def test_adopters_share_the_orphans(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number:013d}-x{OPEN}").write_bytes(b"")
    adopted: list[int] = []
    start = threading.Barrier(4)

    def adopt() -> None:
        start.wait()
        adopted.append(SpoolFolder(tmp_path).adopt_orphans())

    threads = [threading.Thread(target=adopt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(adopted) == 30
    assert len(SpoolFolder(tmp_path).ready_segments()) == 30


def test_half_made_segments_are_cleared_away_when_old(tmp_path: Path) -> None:
    old, young = tmp_path / "1-a.new", tmp_path / "2-b.new"
    old.touch()
    young.touch()
    os.utime(old, (1, 1))

    SpoolFolder(tmp_path).adopt_orphans()

    assert (old.exists(), young.exists()) == (False, True)


def test_a_missing_folder_is_an_empty_one(tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path / "none")

    assert (folder.size_bytes(), folder.oldest_age_seconds(), folder.adopt_orphans()) == (0, 0, 0)
