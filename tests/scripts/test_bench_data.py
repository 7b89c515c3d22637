"""`bench/data` on few links: that it runs, and that what is compared was really different."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.running import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def bench(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "data"), "--quick", "--json", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    for comparison in found:
        for figures in comparison["figures"]:
            assert figures["reads_per_second"] > 0
            assert figures["latency"]["p50"] <= figures["latency"]["p99"]
    return found


@pytest.mark.slow
def test_more_connections_carry_more_reads_to_a_server_at_a_distance() -> None:
    (comparison,) = bench("--only", "pools")
    names = [figures["name"] for figures in comparison["figures"]]
    assert names == [f"{size} connections" for size in (2, 5, 10, 20)]
    two, *more = (figures["reads_per_second"] for figures in comparison["figures"])
    # Each is in use for 4 ms a read.
    assert two < 2 / 0.004
    assert max(more) > 1.3 * two


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_each_arrangement_is_read_as_it_says() -> None:
    found = bench("--only", "replicas", "--only", "shards", "--only", "lists")
    assert [one["part"] for one in found] == ["replicas"] * 4 + ["shards"] * 4 + ["lists"] * 2
    for comparison in found:
        if comparison["part"] == "replicas":
            alone, replicated = (figures["cpu"] for figures in comparison["figures"])
            # The primary reads nothing where there are replicas, and both of these do.
            assert alone[0] > 10 * max(alone[1:])
            assert min(replicated[1:]) > 5 * replicated[0]
        elif comparison["part"] == "shards":
            one, two = (figures["cpu"] for figures in comparison["figures"])
            assert one[0] > 10 * one[1]
            assert 0.3 < two[0] / two[1] < 3
        else:
            assert [len(figures["cpu"]) for figures in comparison["figures"]] == [1, 2, 4]
