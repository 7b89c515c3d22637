"""Clicks on several shards add up, each counted once whatever moves meanwhile."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from api.clicks.ingest import Ingest
from api.clicks.records import ORPHAN_UNKNOWN, OrphanRecord, header_line
from api.core.errors import Unavailable
from api.core.ids import new_id
from api.stats.service import Compaction
from tests.factories.clicks import a_click, a_segment, now_ms
from tests.shards.conftest import HALF, Shards

TOTALS = "SELECT sum(clicks) FROM link_totals"
RAW = "SELECT count(*) FROM clicks"
HOME = "SELECT sum(clicks) FROM click_counts WHERE subject = 2 AND grain = 0"


def _everywhere(shards: Shards, query: str) -> list[int]:
    return [shards.count(name, query) for name in ("main", "second")]


def _move(shards: Shards, first: int, last: int, source: str, target: str) -> None:
    """What a move does to the rows of links' clicks and to what is remembered of segments."""
    moved = f"WHERE slot BETWEEN {first} AND {last}"
    with shards.engines[source].begin() as here, shards.engines[target].begin() as there:
        for table in ("clicks", "link_totals"):
            rows = here.execute(text(f"DELETE FROM {table} {moved} RETURNING *")).mappings().all()
            for row in rows:
                values = {name: value for name, value in row.items() if name != "magnitude"}
                there.execute(
                    text(
                        f"INSERT INTO {table} ({', '.join(values)}) VALUES (:{', :'.join(values)})"
                    ),
                    values,
                )
        segments = text("SELECT slot, segment_id, covered::text FROM ingested_segments")
        for row in here.execute(segments):
            there.execute(
                text(
                    "INSERT INTO ingested_segments AS held (slot, segment_id, covered)"
                    " VALUES (:slot, :name, CAST(:covered AS int4multirange)"
                    "   * int4multirange(int4range(:first, :last, '[]')))"
                    " ON CONFLICT (slot, segment_id)"
                    " DO UPDATE SET covered = held.covered + excluded.covered"
                ),
                {"slot": row[0], "name": row[1], "covered": row[2], "first": first, "last": last},
            )
    shards.assign(target, first, last)


def test_workspaces_add_up_over_shards_and_visitors_merge(shards: Shards, ingest: Ingest) -> None:
    caller = shards.caller()
    links = [int(caller.create_link("https://example.com/", tags=["a"])["id"]) for _ in range(12)]
    # The same two visitors on every link.
    clicks = [
        a_click(link, workspace_id=caller.workspace_id, address=address)
        for link in links
        for address in ("8.8.8.8", "9.9.9.9")
    ]
    ingest.ingest([a_segment(clicks)])
    assert all(_everywhere(shards, RAW))
    stats = caller.get("/stats?group_by=country").json
    assert stats["total"] == {"clicks": 24, "visitors": 2}
    for link in links:
        assert caller.get(f"/links/{link}/stats").json["total"] == {"clicks": 2, "visitors": 2}
    assert sum(link["clicks"] for link in caller.get("/links?limit=50").json["data"]) == 24


def test_a_segment_of_which_one_shard_has_its_part_is_completed(
    shards: Shards, ingest: Ingest
) -> None:
    first, second = new_id(3), new_id(HALF + 3)
    segment = a_segment([a_click(first), a_click(second)])
    with shards.engines["second"].begin() as connection:
        connection.execute(text("ALTER TABLE link_totals RENAME TO away"))
    with pytest.raises(Exception, match="link_totals"):
        ingest.ingest([segment])
    with shards.engines["second"].begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO link_totals"))
    assert _everywhere(shards, RAW) == [1, 0]
    ingest.ingest([segment])
    ingest.ingest([segment])
    assert _everywhere(shards, RAW) == [1, 1]
    assert _everywhere(shards, TOTALS) == [1, 1]


@pytest.mark.parametrize("counted_before", ["both", "main", "second"])
def test_a_segment_that_comes_again_after_a_move_is_counted_once(
    shards: Shards, ingest: Ingest, counted_before: str
) -> None:
    """The slots of `main` move to `second`, which may or may not have had its part of it."""
    moved, stayed = new_id(3), new_id(HALF + 3)
    segment = a_segment([a_click(moved), a_click(stayed), a_click(stayed)])
    batch = ingest.prepare([segment])
    for part in batch.shards or ():
        if counted_before in ("both", "main" if part.slot < HALF else "second"):
            ingest._write([part])
    _move(shards, 0, HALF - 1, "main", "second")
    for _ in range(2):
        ingest.ingest([segment])
    assert _everywhere(shards, RAW) == [0, 3]
    assert _everywhere(shards, TOTALS) == [0, 3]
    assert sum(_everywhere(shards, HOME)) == 3
    # And back again.
    _move(shards, 0, HALF - 1, "second", "main")
    ingest.ingest([segment])
    assert _everywhere(shards, RAW) == [1, 2]


def test_clicks_of_a_closed_slot_wait(
    shards: Shards, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.core.database.routing._CLOSED_SECONDS", 0.2)
    segment = a_segment([a_click(new_id(1)), a_click(new_id(2))])
    shards.assign("main", 2, 2, closed=True)
    with pytest.raises(Unavailable):
        ingest.ingest([segment])
    assert _everywhere(shards, RAW) == [0, 0]
    shards.assign("main", 2, 2)
    assert ingest.ingest([segment]).clicks == 2


def test_visits_without_a_link_add_up_over_shards(shards: Shards, ingest: Ingest) -> None:
    caller = shards.caller()
    hosts = [f"host-{number}.example" for number in range(12)]
    lines = b"".join(
        OrphanRecord(now_ms(), ORPHAN_UNKNOWN, host, caller.workspace_id, 1).to_line()
        for host in hosts
    )
    segment = a_segment([])
    ingest.ingest([segment._replace(body=header_line(segment.name, now_ms()) + lines)])
    assert all(_everywhere(shards, "SELECT count(*) FROM orphan_visits"))
    assert caller.get("/stats/orphans").json["total"] == {"visits": 12}


def test_every_shard_is_compacted(shards: Shards, ingest: Ingest) -> None:
    links = [new_id(3), new_id(HALF + 3)]
    for _ in range(4):
        ingest.ingest([a_segment([a_click(link) for link in links])])
    parts = "SELECT count(*) FROM click_counts"
    before = _everywhere(shards, parts)
    compaction = Compaction(shards.db, min_age_seconds=0)
    while compaction():
        pass
    after = _everywhere(shards, parts)
    assert after[0] < before[0]
    assert after[1] < before[1]
    assert _everywhere(shards, HOME) == [4, 4]
