"""`bench/api_parts` on few calls: that it runs, and that each part of a call is measured."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.running import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs private servers")


@pytest.mark.slow
def test_each_part_is_measured() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "api_parts", "--calls", "200", "--json"],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    figures = json.loads(done.stdout)
    assert list(figures) == ["Get a link", "List 10 links", "List 50 links", "Create a link"]
    for call, parts in figures.items():
        # Who is known by a key is found in memory: nothing on the way of a call is as cheap.
        assert parts["the whole call"] > parts.get("the API key", 0) > 0 or call == "Create a link"
        assert all(0 < seconds < 1 for seconds in parts.values()), parts
