"""`bench/api_parts` on few calls: that the parts of a call are less than the whole of it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.running import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs private servers")


def test_parts_are_less_than_the_whole() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "api_parts", "--calls", "200", "--json"],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    figures = json.loads(done.stdout)
    assert list(figures) == ["Get a link", "List 10 links", "List 50 links", "Create a link"]
    for parts in figures.values():
        whole = parts.pop("the whole call")
        assert all(0 < seconds < whole for seconds in parts.values()), (whole, parts)
