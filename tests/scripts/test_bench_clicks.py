"""`bench/clicks` on very little: that it runs, and that what it says adds up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.backlog import Backlog
from tests.running import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
_BENCH = [sys.executable, str(ROOT / "bench" / "clicks")]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_BENCH, *arguments], check=False, capture_output=True, text=True, timeout=150
    )


@pytest.mark.slow
def test_rates_and_stages_of_few_clicks(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    parts = ("--only", "ingest", "--only", "stages")
    done = bench(*parts, "--clicks", "30000", "--links", "50", "--json", str(path))
    assert done.returncode == 0, done.stderr
    (ingest,), (stages,) = (json.loads(path.read_text())[part] for part in ("ingest", "stages"))
    assert ingest["clicks"] == stages["clicks"] == 30_000
    assert 0 < ingest["ratio"] < 1
    assert ingest["ceiling_per_second"] > ingest["clicks_per_second"]
    assert {"parse", "enrich", "commit", "copy clicks"} <= stages["stages"].keys()


@pytest.mark.slow
def test_questions_about_a_small_year(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    amounts = ("--questions-clicks", "2000", "--questions-links", "20")
    done = bench("--only", "questions", *amounts, "--json", str(path))
    assert done.returncode == 0, done.stderr
    (figures,) = json.loads(path.read_text())["questions"]
    assert len(figures["latency"]) == 6
    assert all(0 < one["p50"] <= one["p99"] for one in figures["latency"].values())


def test_help_and_wrong_amounts() -> None:
    assert "Usage: bench/clicks" in bench("--help").stdout
    done = bench("--clicks", "none")
    assert done.returncode == 2
    assert "--clicks" in done.stderr


def test_the_same_seed_makes_the_same_backlog(tmp_path: Path) -> None:
    def written(name: str, seed: int) -> dict[str, bytes]:
        backlog = Backlog(clicks=500, links=10, hours=1, segment_clicks=200, seed=seed)
        assert sum(backlog.write(tmp_path / name)) == 500
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    assert written("one", 1) == written("two", 1)
    assert len(written("three", 1)) == 3
    assert written("one", 1) != written("four", 2)
