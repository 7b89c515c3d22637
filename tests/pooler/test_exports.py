"""Exports through a PgBouncer that gives a connection for a transaction only."""

from __future__ import annotations

import pytest

from api.app import create_app
from api.identity.service import IdentityService
from api.transfers.exports import kinds, reading
from config.settings import Settings
from tests.caller import Caller
from tests.transfers.exported import exported


def test_export_needs_no_more_than_transactions(
    pooled: dict[str, str], identity: IdentityService, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(Settings.load(pooled))
    caller = Caller.of_new_workspace(app, identity)
    links = [caller.create_link()["id"] for _ in range(8)]
    monkeypatch.setattr(kinds, "ROWS_AT_ONCE", 3)
    for seconds in (30.0, 0.0):
        monkeypatch.setattr(reading, "_CURSOR_SECONDS", seconds)
        assert [row["id"] for row in exported(caller, "links")] == links
        assert exported(caller, "clicks") == []
    app.extensions["signpost"].db.dispose()
