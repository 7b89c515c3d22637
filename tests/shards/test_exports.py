"""Exports from several shards are one, also while slots move."""

from __future__ import annotations

from typing import Any

import pytest

from api.clicks.ingest import Ingest
from api.core.ids import slot_of_id
from api.transfers.exports import kinds, reading
from tests.caller import Caller
from tests.factories.clicks import a_click, a_segment, now_ms
from tests.shards.conftest import HALF, Shards
from tests.transfers.exported import exported

LINKS = 40
# The last slot of those that move.
MOVED = 255


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "ROWS_AT_ONCE", 3)


@pytest.fixture
def caller(shards: Shards, ingest: Ingest) -> Caller:
    """Links on both shards; each third one has clicks, and some of these are deleted."""
    caller = shards.caller()
    links = [caller.create_link(f"https://example.com/{number}") for number in range(LINKS)]
    halves = {slot_of_id(int(link["id"])) < HALF for link in links}
    assert halves == {True, False}
    who = {"workspace_id": caller.workspace_id}
    now = now_ms()
    clicks = [
        a_click(int(link["id"]), at_ms=now - number, **who)
        for place, link in enumerate(links[::3])
        for number in range(1 + place % 5)
    ]
    ingest.ingest([a_segment(clicks)])
    for link in links[::9]:
        caller.delete(f"/links/{link['id']}")
    return caller


def key_of(kind: str) -> Any:
    if kind == "links":
        return lambda row: int(row["id"])
    return lambda row: (int(row["link_id"]), row["clicked_at"], int(row["id"]))


@pytest.mark.parametrize("kind", ["links", "clicks"])
def test_export_is_one_of_all_shards_and_goes_on_after_any_row(
    caller: Caller, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = exported(caller, kind)
    assert len(rows) == (LINKS - len(range(0, LINKS, 9)) if kind == "links" else 40)
    assert rows == sorted(rows, key=key_of(kind))
    for number in range(1, len(rows), 4):
        row = rows[number - 1]
        after = row["id"]
        if kind == "clicks":
            after = ",".join((row["link_id"], row["clicked_at"], row["id"]))
        assert exported(caller, kind, after=after) == rows[number:]
    monkeypatch.setattr(reading, "_CURSOR_SECONDS", 0.0)
    assert exported(caller, kind) == rows


def test_copies_of_slots_that_move_are_not_exported_twice(shards: Shards, caller: Caller) -> None:
    rows = exported(caller, "links", fields="id,slug")
    moved = [row for row in rows if slot_of_id(int(row["id"])) <= MOVED]
    assert 0 < len(moved) < len(rows)
    copy_links(shards)
    shards.assign("second", 0, MOVED, copy_on="main")
    assert exported(caller, "links", fields="id,slug") == rows


def copy_links(shards: Shards) -> None:
    """Have the second shard what moves there."""
    with shards.engines["main"].connect() as source:
        columns = source.exec_driver_sql(
            "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute"
            " WHERE attrelid = 'links'::regclass AND attnum > 0 AND attgenerated = ''"
        ).scalar_one()
        links = source.exec_driver_sql(
            f"SELECT json_agg(it)::text FROM (SELECT {columns} FROM links WHERE slot <= {MOVED}) it"
        ).scalar_one()
    with shards.engines["second"].begin() as target:
        target.exec_driver_sql(
            f"INSERT INTO links ({columns}) SELECT {columns} FROM"
            " json_populate_recordset(NULL::links, %(links)s)",
            {"links": links},
        )
