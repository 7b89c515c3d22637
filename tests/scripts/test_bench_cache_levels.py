"""`bench/cache_levels` on few links: that it runs, and that the levels are what they are for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.running import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs private servers")
_BENCH = [sys.executable, str(ROOT / "bench" / "cache_levels")]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_BENCH, *arguments], check=False, capture_output=True, text=True, timeout=150
    )


def test_what_a_process_knows_is_the_quickest() -> None:
    done = bench("--links", "2000", "--asked", "500", "--json")

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    medians = {level: figures[level]["p50"] for level in ("process", "shared", "database")}
    assert min(medians, key=medians.__getitem__) == "process"
    assert 0 < figures["redis_bytes_per_link"] < 2_000


def test_no_more_can_be_asked_for_than_there_is() -> None:
    done = bench("--links", "1000", "--asked", "1001")

    assert done.returncode != 0
    assert "--asked" in done.stderr
