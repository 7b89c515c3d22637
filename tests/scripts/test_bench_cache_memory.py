"""`bench/cache_memory` on few links: that it runs, and that what the cache believes is near."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.running import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.mark.parametrize("characters", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_what_the_cache_believes_is_near_what_it_takes(characters: int) -> None:
    arguments = ["--links", "30000", "--url-characters", str(characters), "--json"]
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "cache_memory", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    taken = figures["with_links"] - figures["before"]
    assert 0.7 < figures["believed"] / taken < 1.3
