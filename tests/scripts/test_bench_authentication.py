"""`bench/authentication` with few requests: that it runs, and that what is known costs least."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.running import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs private servers")


def test_known_credentials_cost_a_small_share_of_the_request() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "authentication"), "--requests", "100", "--json"],
        check=False,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    costs = {(cost["credential"], cost["known"]): cost for cost in json.loads(done.stdout)}
    assert len(costs) == 4
    for kind in ("API key", "access token"):
        known, new = costs[kind, True], costs[kind, False]
        assert known["authentication"]["p50"] < new["authentication"]["p50"]
        assert 0 < known["share"] < 0.2
        assert known["share"] < new["share"] < 1
