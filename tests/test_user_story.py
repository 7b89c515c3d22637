"""The product from end to end: create a link, follow it, count it, ask about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from flask import Flask

from tests.caller import Caller
from tests.story import tell_story

ROOT = Path(__file__).resolve().parents[1]


class _InProcess:
    """The application as Flask's client reaches it."""

    def __init__(self, app: Flask, caller: Caller) -> None:
        self._visitor = app.test_client()
        self._caller = caller

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._caller.request(method, path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json

    def follow(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str | None]:
        answer = self._visitor.open(path, method=method, headers=headers)
        return answer.status_code, answer.location


def test_a_followed_link_shows_up_in_its_statistics(
    app: Flask, caller: Caller, environ: dict[str, str]
) -> None:
    tell_story(_InProcess(app, caller), "story", lambda _: count_what_waits(environ))


def count_what_waits(environ: dict[str, str]) -> None:
    """Wait until the spool is sealed by age, then count it as the clicks process does."""
    spool = Path(environ["SIGNPOST_HOME"]) / "spool"
    deadline = time.monotonic() + 10
    while list(spool.glob("*.open")) and time.monotonic() < deadline:
        time.sleep(0.05)
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "consume-clicks", "--once", "--json"],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rejected"] == []
