"""Parts of counts become one, and say the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from api.core.database.routing import Database
from api.stats.service import Compaction, StatsService
from tests.stats.samples import (
    NOON,
    count,
    make_click,
    new_link,
    new_workspace,
    stats_of,
    whole_year,
)


@pytest.fixture
def compact(db: Database) -> Callable[[], int]:
    """Compacts all that is there, however young; how many parts went."""

    def run() -> int:
        compaction, gone = Compaction(db, min_age_seconds=0), 0
        while removed := compaction():
            gone += removed
        return gone

    return run


def parts_of(db: Database, link: int) -> int:
    with db.read(0) as session:
        query = text("SELECT count(*) FROM click_counts WHERE subject_id = :link AND subject = 1")
        return int(session.scalar(query, {"link": link}) or 0)


def test_many_parts_become_one_of_a_quarter_and_one_of_a_day(
    db: Database, compact: Callable[[], int]
) -> None:
    link, workspace = new_link(), new_workspace()
    for number in range(10):
        fields = {"country": ["DE", "FR", ""][number % 3], "visitor": number % 4, "bot": number > 7}
        count(db, [make_click(link_id=link, workspace_id=workspace, **fields)])
    queries = [
        whole_year(group_by=group, bots=bots, timezone=timezone)
        for group in ("country", "device")
        for bots in ("exclude", "include", "only")
        for timezone in ("UTC", "Asia/Kolkata")
    ]
    before = [stats_of(db).link_stats(workspace, link, query) for query in queries]
    assert parts_of(db, link) == 20
    assert compact() >= 32
    assert parts_of(db, link) == 4
    assert [stats_of(db).link_stats(workspace, link, query) for query in queries] == before
    assert before[0].total.clicks == 8
    count(db, [make_click(link_id=link, workspace_id=workspace)])
    compact()
    assert parts_of(db, link) == 4
    assert stats_of(db).link_stats(workspace, link, queries[0]).total.clicks == 9


def test_a_late_click_falls_into_its_own_quarter_after_compaction(
    db: Database, compact: Callable[[], int]
) -> None:
    link = new_link()
    for _ in range(2):
        count(db, [make_click(link_id=link)])
    compact()
    count(db, [make_click(link_id=link, clicked_at=NOON - timedelta(days=40))])
    compact()
    series = stats_of(db).link_stats(1, link, whole_year()).series
    assert {start.month: tally.clicks for start, tally in series if tally.clicks} == {3: 1, 5: 2}


def test_only_one_compacts_at_a_time(db: Database) -> None:
    link = new_link()
    for _ in range(2):
        count(db, [make_click(link_id=link)])
    with db.write(0) as session:
        StatsService.erase_link(session, 0, new_link())  # holds the same lock
        assert Compaction(db, min_age_seconds=0)() == 0
    assert parts_of(db, link) == 4


def test_clicks_that_arrive_meanwhile_are_not_lost(db: Database) -> None:
    link, workspace = new_link(), new_workspace()
    stop = threading.Event()

    def keep_compacting() -> None:
        while not stop.is_set():
            Compaction(db, min_age_seconds=0)()

    compactors = [threading.Thread(target=keep_compacting) for _ in range(2)]
    for thread in compactors:
        thread.start()
    try:
        for number in range(60):
            count(db, [make_click(link_id=link, workspace_id=workspace, visitor=number)] * 2)
            seen = stats_of(db).link_stats(workspace, link, whole_year(group_by="browser"))
            assert (seen.total.clicks, seen.total.visitors) == (2 * number + 2, number + 1)
    finally:
        stop.set()
        for thread in compactors:
            thread.join()
