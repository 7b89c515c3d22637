"""The files in which workers tell their load, without a web server around them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from api.core.load import Counters, LoadFile, WorkerLoad, read_loads
from api.core.load_reporter import LoadReporter
from api.operations.load import HostLoad
from tests.running import ROOT, wait_until

SECOND = 1_000_000_000


def load(**changes: int) -> WorkerLoad:
    """A worker that has served for a minute and tells of five seconds."""
    facts = {"cpu": 0, "queued": 0, "delay": 0, "ticks": 50, "connections": 0, "at": 60} | changes
    before = Counters((facts["at"] - 5) * SECOND, 0, 0, 0, 0, 0)
    now = Counters(
        facts["at"] * SECOND, facts["cpu"], facts["queued"], facts["delay"], facts["ticks"], 0
    )
    return WorkerLoad(os.getpid(), os.getppid(), facts["connections"], 0, 1000, before, now)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LoadFile]:
    """The file of this process."""
    mine = LoadFile(tmp_path / "load")
    yield mine
    mine.close()
    assert list((tmp_path / "load").iterdir()) == []


def test_what_is_written_is_read(file: LoadFile, tmp_path: Path) -> None:
    assert read_loads(tmp_path / "load") == []  # it has told nothing yet
    for cpu in (SECOND, 2 * SECOND):
        file.write(load(cpu=cpu))
        assert read_loads(tmp_path / "load") == [load(cpu=cpu)]


def test_who_tidies_up_takes_nothing_away_for_long(file: LoadFile, tmp_path: Path) -> None:
    file.write(load())
    (tmp_path / "load" / str(os.getpid())).unlink()
    assert read_loads(tmp_path / "load") == []
    file.write(load())
    assert len(read_loads(tmp_path / "load")) == 1


def test_another_programs_file_is_no_load(file: LoadFile, tmp_path: Path) -> None:
    (tmp_path / "load" / str(os.getpid())).write_bytes(b"something else")
    assert read_loads(tmp_path / "load") == []


def test_a_dead_process_leaves_nothing_that_counts(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from api.core.load import LoadFile\n"
        "mine = LoadFile(Path(sys.argv[1])); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    read_loads(tmp_path)
    assert (tmp_path / str(process.pid)).exists()
    process.kill()
    process.communicate()
    assert read_loads(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_rates_are_of_the_time_between_the_counters() -> None:
    one = load(cpu=2 * SECOND, queued=SECOND, delay=SECOND // 2)
    assert (one.cpu_ratio, one.starved_ratio, one.busy_ratio) == (0.4, 0.2, pytest.approx(0.6))
    assert one.delay_seconds(60 * SECOND) == 0.01


def test_taken_places_are_work() -> None:
    assert load(cpu=SECOND, connections=900).busy_ratio == 0.9


def test_a_loop_that_is_held_up_is_late_although_it_says_nothing() -> None:
    assert load(delay=0).delay_seconds(70 * SECOND) == 8


def test_a_worker_that_just_started_does_not_make_the_host_busy() -> None:
    old, young = load(cpu=SECOND), load(cpu=5 * SECOND)
    young = WorkerLoad(2, 1, 0, 3, 1000, young.before, young.now._replace(born=58 * SECOND))
    host = HostLoad.of([old, young], 60 * SECOND)
    assert host is not None
    assert (host.workers, host.busy, host.in_flight) == (2, pytest.approx(0.2), 3)
    alone = HostLoad.of([young], 60 * SECOND)
    assert alone is not None
    assert alone.busy == 1


def test_a_busy_loop_is_measured(tmp_path: Path) -> None:
    reporter = LoadReporter(tmp_path, 10, lambda: (4, 2))
    try:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            busy_until = time.monotonic() + 0.05
            while time.monotonic() < busy_until:
                pass
            gevent.sleep(0.001)  # through the loop: `sleep(0)` would not let timers run
        reporter.write()
        (told,) = read_loads(tmp_path)
    finally:
        reporter.stop()
    assert (told.connections, told.in_flight) == (4, 2)
    assert 0.5 < told.busy_ratio <= 1
    assert 0.001 < told.delay_seconds(time.monotonic_ns()) < 1


def test_a_disk_that_refuses_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = LoadReporter(tmp_path, 10, lambda: (0, 0))

    def refuse(*_: object) -> int:
        raise OSError("no space left")

    try:
        monkeypatch.setattr("api.core.load.os.pwrite", refuse)
        wait_until(lambda: gevent.sleep(0.05) or "no space left" in caplog.text)
        gevent.sleep(1.2)
        assert caplog.text.count("no space left") == 1  # told once
        monkeypatch.undo()
        wait_until(lambda: gevent.sleep(0.05) or read_loads(tmp_path) != [])
    finally:
        reporter.stop()
