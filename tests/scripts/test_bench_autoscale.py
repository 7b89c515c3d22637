"""`bench/autoscale` in short: the number of workers follows the load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs the scheduler's statistics")
def test_a_load_that_rises_brings_workers_and_one_that_falls_ends_them(tmp_path: Path) -> None:
    picture = tmp_path / "load.svg"
    options = ["--seconds", "60", "--most", "80", "--busy", "25", "--max", "2"]
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "autoscale", *options, "--json", "--picture", picture],
        check=True, capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    seconds = json.loads(done.stdout)
    workers = [one["workers"] for one in seconds]
    assert (workers[0], max(workers), workers[-1]) == (1, 2, 1)
    assert sum(one["requests"] for one in seconds) > 1000
    assert "<svg" in picture.read_text()
