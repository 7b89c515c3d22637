"""A short run of `scripts/chaos clicks`: everything is killed, and the balance holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.clicks import MEAN_SECONDS
from tests.running import ROOT

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]
_CHAOS = [sys.executable, str(ROOT / "scripts" / "chaos"), "clicks"]


# The first seed kills one of every kind within four seconds.
@pytest.mark.parametrize(
    ("seed", "seconds"), [(3671, 10), pytest.param(7, 20, marks=pytest.mark.slow)]
)
@pytest.mark.timeout(150)
def test_every_answered_click_is_counted_once_whatever_is_killed(seed: int, seconds: int) -> None:
    done = subprocess.run(
        [*_CHAOS, "--seconds", str(seconds), "--seed", str(seed), "--json"],
        check=False,
        capture_output=True,
        text=True,
        timeout=140,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    balance = json.loads(done.stdout)
    assert balance["holds"]
    assert balance["requests"]["answered"] > 1_000
    assert {kind for kind, kills in balance["kills"].items() if kills} == set(MEAN_SECONDS)


def test_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [*_CHAOS, "--seconds", "60", "--no-broker"], env=environ, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while "answered" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert list(tmp_path.iterdir()) == []
    assert _processes_naming(tmp_path) == []


def _processes_naming(folder: Path) -> list[str]:
    listing = subprocess.run(
        ["ps", "-A", "-ww", "-o", "args="], check=True, capture_output=True, text=True
    )
    return [line for line in listing.stdout.splitlines() if str(folder) in line]
