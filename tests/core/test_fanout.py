"""Several servers are asked at once where greenlets can wait, else in turn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from api.core.database.fanout import ask_each

ROOT = Path(__file__).resolve().parents[2]
_TOGETHER = """
from gevent import monkey; monkey.patch_all()
import time
from api.core.database.fanout import ask_each

began, ended = [], []

def ask(name):
    began.append(name)
    while len(began) < 3:
        time.sleep(0.001)
    return name.upper()

print(ask_each(["a", "b", "c"], ask))

def fail(name):
    if name == "b":
        raise KeyError(name)
    try:
        time.sleep(60)
    finally:
        ended.append(name)

try:
    ask_each(["a", "b", "c"], fail)
except KeyError as error:
    print(error, ended)
"""


def test_greenlets_ask_at_the_same_time_and_end_with_the_first_failure() -> None:
    command = [sys.executable, "-c", _TOGETHER]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    first, second = done.stdout.splitlines()
    assert first == "['A', 'B', 'C']"
    # The last one had not begun, or was ended, when the second failed.
    assert second in ("'b' ['a', 'c']", "'b' ['a']")
    assert done.stderr == ""


def test_elsewhere_one_is_asked_after_the_other() -> None:
    asked: list[str] = []

    def ask(name: str) -> str:
        asked.append(name)
        if name == "b":
            raise KeyError(name)
        return name

    assert ask_each(["a"], ask) == ["a"]
    with pytest.raises(KeyError):
        ask_each(["a", "b", "c"], ask)
    assert asked == ["a", "a", "b"]
