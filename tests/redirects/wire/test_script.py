"""`scripts/fuzz-wire`, as an operator runs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.running import ROOT

SCRIPT = [sys.executable, str(ROOT / "scripts" / "fuzz-wire")]


def test_help_says_what_it_does() -> None:
    done = subprocess.run([*SCRIPT, "--help"], check=True, capture_output=True, text=True)

    assert "--minutes" in done.stdout
    assert "fast path" in done.stdout


def test_wrong_option_is_one_line_and_a_failure() -> None:
    done = subprocess.run([*SCRIPT, "--minutes", "x"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "--minutes" in done.stderr.splitlines()[-1]


def test_parsers_are_asked_without_servers() -> None:
    done = subprocess.run(
        [*SCRIPT, "--parsers", "--seconds", "0.5", "--json"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    outcome = json.loads(done.stdout)
    assert outcome["requests"] > outcome["answered"] > 0


def test_coverage_leads_to_what_is_asked() -> None:
    pytest.importorskip("atheris", reason="has no wheel for this platform")
    done = subprocess.run(
        [*SCRIPT, "--guided", "--seconds", "2", "--seed", "7", "--json"],
        check=True, capture_output=True, text=True, timeout=90,
    )  # fmt: skip

    assert json.loads(done.stdout)["requests"] > 1_000


@pytest.mark.slow
def test_short_run_finds_no_difference() -> None:
    done = subprocess.run(
        [*SCRIPT, "--seconds", "1", "--seed", "7", "--json"],
        check=True, capture_output=True, text=True, timeout=150,
    )  # fmt: skip

    outcome = json.loads(done.stdout)
    assert outcome["seed"] == 7
    assert outcome["messages"] >= 200
    assert outcome["redirects"] == outcome["clicks"] > 0
