from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.clicks.consumer import Consumer
from api.clicks.folder import SpoolFolder
from api.clicks.ingest import Ingest, Outcome, RawSegment
from api.clicks.local_spool import LocalSpool
from api.clicks.spool import Spool
from api.core.errors import Unavailable
from tests.clicks.conftest import Counted
from tests.factories.clicks import a_click, a_link_id, a_segment
from tests.scripting import run_script

ROOT = Path(__file__).parents[2]
Ask = Callable[[int], Counted]
Put = Callable[[RawSegment], Path]


def test_counted_segments_leave_the_folder(
    folder: SpoolFolder, ingest: Ingest, put: Put, counted: Ask
) -> None:
    link = a_link_id()
    for _ in range(3):
        put(a_segment([a_click(link)] * 2))
    consumer = Consumer(LocalSpool(folder), ingest)

    consumer.drain()

    assert consumer.total == Outcome(segments=3, clicks=6)
    assert list(folder.path.iterdir()) == []
    assert counted(link) == Counted(6, 6, 6)


def test_a_consumer_that_dies_between_commit_and_delete_counts_once(
    folder: SpoolFolder, ingest: Ingest, put: Put, counted: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = a_link_id()
    path = put(a_segment([a_click(link)]))
    source = LocalSpool(folder)

    def die(segment: RawSegment) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(source, "acknowledge", die)
    with pytest.raises(KeyboardInterrupt):
        Consumer(source, ingest).drain()
    assert path.exists()
    assert counted(link).rows == 1

    Consumer(LocalSpool(folder), ingest).drain()

    assert not path.exists()
    assert counted(link) == Counted(1, 1, 1)


def test_a_poison_segment_is_laid_aside_with_its_reason(
    folder: SpoolFolder, ingest: Ingest, put: Put, counted: Ask
) -> None:
    link = a_link_id()
    poison = a_segment([a_click(link)], tail=b"{}\n")
    put(poison)
    put(a_segment([a_click(link)]))
    consumer = Consumer(LocalSpool(folder), ingest)

    consumer.drain()

    assert folder.ready_segments() == []
    rejected = folder.path / "rejected"
    assert (rejected / f"{poison.name}.ready").read_bytes() == poison.body
    assert "not the array of a click" in (rejected / f"{poison.name}.reason").read_text()
    assert counted(link).rows == 1


def test_a_delivered_segment_is_locked_until_it_is_settled(folder: SpoolFolder, put: Put) -> None:
    put(a_segment([a_click(1)]))
    one, other = LocalSpool(folder), LocalSpool(folder)

    (segment,) = one.take(100)
    assert other.take(100) == []

    one.release()
    assert [again.name for again in other.take(100)] == [segment.name]
    other.acknowledge(segment)
    assert one.take(100) == []


def test_a_batch_is_bounded_by_its_clicks(folder: SpoolFolder, put: Put) -> None:
    for _ in range(5):
        put(a_segment([a_click(1)] * 10))
    source = LocalSpool(folder)

    assert [len(source.take(20)) for _ in range(4)] == [2, 2, 1, 0]


class _Away:
    """Stands for an ingest whose database is away for some tries."""

    def __init__(self, tries: int) -> None:
        self.left = tries

    def prepare(self, segments: Any) -> Any:
        return segments

    def write(self, segments: Any) -> Outcome:
        if self.left:
            self.left -= 1
            raise Unavailable("away")
        return Outcome(segments=len(segments), clicks=1)


def test_while_the_database_is_away_everything_is_kept_and_said_once(
    folder: SpoolFolder, put: Put, caplog: pytest.LogCaptureFixture
) -> None:
    put(a_segment([a_click(1)]))
    caplog.set_level(logging.WARNING, "api.clicks.consumer")
    consumer = Consumer(LocalSpool(folder), _Away(3))  # type: ignore[arg-type]

    # The first is taken, and fails as it is waited for; from then on each is tried at once.
    assert [consumer._try_step() for _ in range(4)] == [True, False, False, False]
    assert len(folder.ready_segments()) == 1
    assert consumer._try_step()

    assert folder.ready_segments() == []
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_consumer_that_is_told_to_stop_drains_first(
    folder: SpoolFolder, ingest: Ingest, put: Put
) -> None:
    consumer = Consumer(LocalSpool(folder), ingest)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    for _ in range(3):
        put(a_segment([a_click(a_link_id())]))
    consumer.stop()
    thread.join(10)

    assert not thread.is_alive()
    assert folder.ready_segments() == []


@pytest.fixture
def start(environ: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start `scripts/consume-clicks` on the spool of this test."""

    def run(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "scripts/consume-clicks"), *arguments],
            env=os.environ | environ | {"SIGNPOST_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def test_two_processes_count_each_click_once(
    folder: SpoolFolder, put: Put, start: Callable[..., subprocess.Popen[str]], counted: Ask
) -> None:
    link = a_link_id()
    for _ in range(60):
        put(a_segment([a_click(link)] * 50))

    processes = [start("--once", "--json") for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sum(json.loads(output)["clicks"] for output, _ in outputs) == 3000
    assert counted(link) == Counted(3000, 3000, 3000)
    assert folder.ready_segments() == []


def test_the_process_counts_what_a_spool_writes_until_it_is_told_to_stop(
    folder: SpoolFolder, start: Callable[..., subprocess.Popen[str]], counted: Ask
) -> None:
    link = a_link_id()
    spool = Spool(folder.path, 1_000_000, 0.05, 1_000_000)
    spool.start()
    with start() as process:
        spool.record(a_click(link))
        _until(lambda: counted(link).rows == 1)
        spool.record(a_click(link))
        spool.close()
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=30)[1]

    assert process.returncode == 0, errors
    assert counted(link) == Counted(2, 2, 2)


def test_a_consumer_killed_at_work_loses_and_doubles_nothing(
    folder: SpoolFolder, put: Put, start: Callable[..., subprocess.Popen[str]], counted: Ask
) -> None:
    link = a_link_id()
    for _ in range(400):
        put(a_segment([a_click(link)] * 50))
    with start() as process:
        _until(lambda: len(folder.ready_segments()) < 400 or counted(link).rows > 0)
        process.kill()

    with start("--once") as process:
        output = process.communicate(timeout=60)

    assert process.returncode == 0, output
    assert counted(link) == Counted(20_000, 20_000, 20_000)


def test_a_wrong_setting_is_told_in_one_line(
    start: Callable[..., subprocess.Popen[str]], environ: dict[str, str]
) -> None:
    environ_with_error = environ | {"DATABASE_URL": "mysql://x"}
    process = run_script("consume-clicks", "--once", env=os.environ | environ_with_error)

    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert "DATABASE_URL" in process.stderr


def test_a_database_that_is_away_is_told_in_one_line_and_loses_nothing(
    folder: SpoolFolder, put: Put, environ: dict[str, str], tmp_path: Path
) -> None:
    put(a_segment([a_click(1)]))
    away = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x", "SIGNPOST_HOME": str(tmp_path)}
    environ = os.environ | environ | away | {"LOG_LEVEL": "ERROR"}
    process = run_script("consume-clicks", "--once", env=environ)

    assert process.returncode == 1
    assert process.stderr.count("\n") == 1, process.stderr
    assert len(folder.ready_segments()) == 1


def _until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)
