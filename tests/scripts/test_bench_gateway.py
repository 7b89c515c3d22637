"""`bench/gateway` on a short load: that it runs, and that links keep their fast path behind it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.running import ROOT

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="runs private servers"),
    pytest.mark.slow,
]


def test_the_gateway_leaves_links_on_their_fast_path() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "gateway", "--runs", "1", "--seconds", "3", "--json"],
        check=True, capture_output=True, text=True, timeout=170,
    )  # fmt: skip

    direct, behind = (json.loads(done.stdout)[name] for name in ("directly", "gateway"))
    assert direct["errors"] == behind["errors"] == 0
    # Through Flask it is about thirty times as much.
    assert behind["server_us"] < 5 * direct["server_us"]
    assert behind["gateway_us"] > direct["gateway_us"]
