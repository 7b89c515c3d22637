"""`bench/startup` in short: that it runs, and that loading before the fork is what it is for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.running import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.mark.slow
def test_workers_share_what_is_loaded_before_the_fork() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "startup", "--runs", "1", "--requests", "400", "--json"],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    figures = json.loads(done.stdout)
    loading, sharing = figures["loading"], figures["sharing"]
    assert (
        loading["SIGNPOST_SERVICES=redirect"]["peak_bytes"]
        < (loading["SIGNPOST_SERVICES=redirect,api"]["peak_bytes"])
    )
    own = {way: each["private_bytes"] for way, each in sharing.items()}
    assert own["as configured"] < own["without preload_app"]
    for each in sharing.values():
        assert each["private_bytes"] <= each["pss_bytes"] <= each["rss_bytes"]
