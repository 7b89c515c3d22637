"""`bench/pool` on few calls: that it runs, and that what was decided by it still holds."""

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


def test_what_was_decided_by_it_holds() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "pool", "--calls", "100", "--json"],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    check, transaction, failing, question, beside = json.loads(done.stdout).values()
    assert check["what Signpost does"] < check["pool_pre_ping"] / 2
    assert all(0 < microseconds < 100_000 for microseconds in transaction.values())
    assert failing["what Signpost does"] == 0 < failing["nothing"]
    single, in_transaction = question.values()
    assert single < in_transaction
    assert beside["single statement, p99"] < beside["transaction, p99"] / 2
