"""Visits while the spool takes no more clicks: visitors go on, and what is lost is known."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from flask import Flask

from tests.caller import Caller
from tests.conftest import OPERATOR
from tests.redirects.conftest import AppMaker
from tests.redirects.visitor import Visitor
from tests.running import wait_until


def _spool_of(app: Flask) -> dict[str, Any]:
    answer = app.test_client().get("/health/ready", headers=OPERATOR).json or {}
    spool: dict[str, Any] = answer["checks"]["spool"]
    return spool


def test_past_the_bound_visitors_go_on_and_their_clicks_are_counted_as_lost(
    caller: Caller, make_app: AppMaker, tmp_path: Path
) -> None:
    app = make_app(SIGNPOST_HOME=str(tmp_path), SPOOL_MAX_BYTES="1000000")
    visitor = Visitor(app)
    link = caller.create_link()
    left = tmp_path / "spool" / "0000000000001-left.ready"
    left.write_bytes(b"x" * 1_000_001)

    def visit_until_one_is_lost() -> bool:
        assert visitor.follow(link).status_code == 302
        return bool(_spool_of(app)["lost_clicks"])

    wait_until(visit_until_one_is_lost)
    time.sleep(2.5)  # all that were lost by now are written down
    lost = _spool_of(app)["lost_clicks"]
    for _ in range(20):
        assert visitor.follow(link).status_code == 302
    wait_until(lambda: _spool_of(app)["lost_clicks"] == lost + 20)
    assert _spool_of(app)["status"] == "down"

    left.unlink()

    wait_until(lambda: _spool_of(app)["status"] == "up")
    assert visitor.follow(link).status_code == 302
    time.sleep(2.5)
    assert _spool_of(app)["lost_clicks"] == lost + 20
