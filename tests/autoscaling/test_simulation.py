"""`bench/autoscale_sim.py`: what a day with a spike comes to, for some and for many hosts."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import autoscale_sim as bench
from tests.running import ROOT


@pytest.mark.parametrize(("low", "high"), [(2, 20), (2, 200)])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_day_is_served_within_bounds_at_little_cost(low: int, high: int, seed: int) -> None:
    policy = replace(bench.POLICY, low=low, high=high)
    moments = bench.play(policy, seed)
    found = bench.Outcome.of(moments, policy)

    assert all(low <= one.hosts <= high for one in moments)
    assert found.most > 0.7 * high
    assert found.turns <= 4  # up and down with the day, and with the spike
    assert found.changes < 48
    assert 0 < found.spike_minutes <= 6  # two doublings, of two minutes each
    assert found.slow_minutes <= found.spike_minutes
    assert 1 <= found.cost < 1.2


def test_each_play_is_the_same() -> None:
    assert bench.play() == bench.play()


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "day.svg"
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "autoscale_sim.py", "--json", "--picture", path],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert json.loads(done.stdout)["most"] > 100
    drawn = ElementTree.parse(path).getroot()
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}path"))) >= 5
