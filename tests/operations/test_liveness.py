"""Whether the processes that nobody can ask over HTTP are seen to live, to hang and to be dead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.core.heartbeat import Heartbeat, read_beats
from tests.running import ROOT, clean_environ, wait_until
from tests.scripting import run_script


@contextmanager
def started(script: str, environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, ROOT / "scripts" / script], env=environ)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def live(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_script("doctor", "--live", *arguments, env=environ)


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has begun to care for a signal."""
    state = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in state.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask.split()[1], 16) & 1 << (number - 1))


@pytest.mark.parametrize(("script", "kind"), [("consume-clicks", "clicks"), ("run-jobs", "worker")])
def test_a_frozen_process_is_told_from_one_that_works(
    tmp_path: Path, database_url: str, script: str, kind: str
) -> None:
    environ = clean_environ(
        tmp_path,
        DATABASE_URL=database_url,
        REDIS_URL=os.environ["TEST_REDIS_URL"],
        JOBS_QUEUE=f"test.jobs.{uuid.uuid4().hex[:12]}",
        SECRET_KEY="a secret of the tests only",
    )
    absent = live(environ, kind)
    assert absent.returncode == 1
    assert f"no {kind} process lives here" in absent.stderr
    with started(script, environ) as process:
        wait_until(lambda: read_beats(tmp_path, kind))
        assert live(environ, kind, "--within", "5").returncode == 0

        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: read_beats(tmp_path, kind)[0].age_seconds > 2, 10)
        # By its own word it may have that much to do.
        assert live(environ, kind).returncode == 0
        frozen = live(environ, kind, "--within", "2", "--json")
        assert frozen.returncode == 1
        told = json.loads(frozen.stdout)
        assert [each["pid"] for each in told["processes"] if each["late"]] == [process.pid]

        process.send_signal(signal.SIGCONT)
        wait_until(lambda: live(environ, kind, "--within", "2").returncode == 0, 20)

        process.send_signal(signal.SIGKILL)
        process.wait()
        assert live(environ, kind).returncode == 1
    # Whoever begins next clears away what the dead left.
    with started(script, environ) as process:
        wait_until(lambda: [beat.pid for beat in read_beats(tmp_path, kind)] == [process.pid])
        assert len(list((tmp_path / "alive").glob(f"{kind}.*"))) == 1
        wait_until(lambda: catches(process.pid, signal.SIGTERM))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert not list((tmp_path / "alive").glob(f"{kind}.*"))


def test_a_process_that_can_write_nothing_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "alive").write_text("in the way")
    beat = Heartbeat(tmp_path, "clicks", 10)
    beat.start()
    beat()
    beat.stop()
    assert "nobody will see that this process lives" in caplog.text


def test_of_a_shared_folder_only_this_host_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "another.example.com")
        other = Heartbeat(tmp_path, "clicks", 10)
        other.start()
        assert len(read_beats(tmp_path)) == 1
    assert read_beats(tmp_path) == []
    other.stop()


def test_who_tidies_up_kills_nobody(tmp_path: Path) -> None:
    beat = Heartbeat(tmp_path, "clicks", 10)
    beat.start()
    next((tmp_path / "alive").glob("clicks.*")).unlink()
    beat()
    assert [each.kind for each in read_beats(tmp_path)] == ["clicks"]
    beat.stop()
