"""Counting clicks, and what is answered about them."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from api.clicks.enriched import EnrichedClick
from api.core.database.routing import Database
from api.core.errors import NotFound
from api.stats import store
from api.stats.service import GROUPINGS, StatsQuery, StatsService
from api.stats.tallies import Tally
from api.stats.values import OTHER
from tests.stats.samples import (
    NOON,
    OwnedLinks,
    count,
    make_click,
    new_link,
    new_workspace,
    stats_of,
    whole_year,
)


def numbers(groups: list[tuple[str, Tally]]) -> list[tuple[str, int, int]]:
    return [(value, tally.clicks, tally.visitors) for value, tally in groups]


def test_no_clicks_is_a_series_of_zeros(db: Database) -> None:
    query = whole_year(group_by="country")
    stats = stats_of(db).link_stats(1, new_link(), query)
    assert (stats.total.clicks, stats.total.visitors) == (0, 0)
    assert [tally.clicks for _, tally in stats.series] == [0] * 12
    assert stats.groups == []


def test_groups_are_answered_only_when_asked_for(db: Database) -> None:
    assert stats_of(db).link_stats(1, new_link(), whole_year()).groups is None


def test_link_of_another_workspace_is_not_found(db: Database) -> None:
    link = new_link()
    service = StatsService(db, OwnedLinks(link))  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        service.link_stats(1, link, StatsQuery())


def test_nothing_counted_is_nothing_written(db: Database) -> None:
    with db.write(0) as session:
        StatsService.add(session, [])


def test_visitor_who_comes_again_counts_once(db: Database) -> None:
    link = new_link()
    for minutes in (0, 1, 20, 60 * 24 * 3):
        moment = NOON - timedelta(minutes=minutes)
        count(db, [make_click(link_id=link, visitor=42, clicked_at=moment)])
    # The hash of a visitor changes every day: the same on another day is somebody else.
    stats = stats_of(db).link_stats(1, link, StatsQuery())
    assert (stats.total.clicks, stats.total.visitors) == (3, 2)  # `to` is noon itself
    stats = stats_of(db).link_stats(1, link, whole_year())
    assert (stats.total.clicks, stats.total.visitors) == (4, 2)


def test_two_batches_in_one_transaction_add_up(db: Database) -> None:
    link = new_link()
    with db.write(0) as session:
        for visitors in ([1], [1, 2]):
            clicks = [make_click(link_id=link, visitor=visitor) for visitor in visitors]
            StatsService.add(session, StatsService.fold(clicks, {}))
    stats = stats_of(db).link_stats(1, link, whole_year())
    assert (stats.total.clicks, stats.total.visitors) == (3, 2)


def test_bots_are_excluded_included_or_alone(db: Database) -> None:
    link = new_link()
    count(db, [make_click(link_id=link, visitor=1), make_click(link_id=link, visitor=2)])
    count(db, [make_click(link_id=link, visitor=2, bot=True)])
    for bots, expected in {"exclude": (2, 2), "include": (3, 2), "only": (1, 1)}.items():
        total = stats_of(db).link_stats(1, link, whole_year(bots=bots)).total
        assert (total.clicks, total.visitors) == expected, bots


def test_clicks_fall_into_local_days(db: Database) -> None:
    link = new_link()
    # Half past midnight in Kathmandu (+05:45) is a quarter to seven in the evening before, in UTC.
    moments = [datetime(2026, 5, 5, 18, minute, tzinfo=UTC) for minute in (10, 20)]
    count(db, [make_click(link_id=link, clicked_at=moment) for moment in moments])
    query = StatsQuery(start=date(2026, 5, 5), end=date(2026, 5, 6), timezone="Asia/Kathmandu")
    stats = stats_of(db).link_stats(1, link, query)
    assert [tally.clicks for _, tally in stats.series] == [1, 1]
    assert stats.series[1][0] == datetime(2026, 5, 5, 18, 15, tzinfo=UTC)


def test_first_bucket_counts_from_the_start_of_the_period(db: Database) -> None:
    link = new_link()
    count(
        db,
        [make_click(link_id=link, clicked_at=NOON.replace(hour=hour)) for hour in (1, 11, 13, 23)],
    )
    query = StatsQuery(start=NOON.replace(hour=11), end=NOON.replace(hour=14))
    stats = stats_of(db).link_stats(1, link, query)
    assert [(start.hour, tally.clicks) for start, tally in stats.series] == [(0, 2)]


def test_groups_are_ranked_and_the_tail_is_one_group(db: Database) -> None:
    link = new_link()
    clicks = [
        make_click(link_id=link, referrer=name, visitor=visitor)
        for name, visitors in {"a": [1, 2, 3], "b": [1, 2], "": [9, 9, 9, 9], "c": [5]}.items()
        for visitor in visitors
    ]
    # Nobody can pass for the rest by sending its name.
    count(db, [*clicks, *(make_click(link_id=link, referrer=OTHER, visitor=6) for _ in range(9))])
    groups = stats_of(db).link_stats(1, link, whole_year(group_by="referrer", limit=2)).groups
    assert numbers(groups) == [("", 4, 1), ("a", 3, 3), (OTHER, 12, 4)]
    groups = stats_of(db).link_stats(1, link, whole_year(group_by="referrer")).groups
    assert [value for value, _ in groups] == ["", "a", "b", "c", OTHER]


def test_hostile_values_are_counted(db: Database) -> None:
    link = new_link()
    values = [
        "\\",
        '"',
        "{}",
        "a,b",
        "'; --",
        "a\0b",
        "\ud800",
        "日本" * 200,
        "x" * 5000,
        ":p",
        "%s",
    ]
    count(db, [make_click(link_id=link, utm_source=value) for value in values])
    count(db, [make_click(link_id=link, utm_source=value) for value in values])
    groups = stats_of(db).link_stats(1, link, whole_year(group_by="utm_source")).groups
    assert [tally.clicks for _, tally in groups] == [2] * len(values)


def test_workspace_is_the_sum_of_its_links(db: Database) -> None:
    workspace = new_workspace()
    for slot in (3, 700):
        link = new_link(slot)
        count(
            db,
            [
                make_click(link_id=link, workspace_id=workspace, visitor=visitor, country="FR")
                for visitor in (1, slot)
            ],
        )
    count(db, [make_click(link_id=new_link(), workspace_id=new_workspace())])
    stats = stats_of(db).workspace_stats(workspace, whole_year(group_by="country"))
    assert (stats.total.clicks, stats.total.visitors) == (4, 3)
    assert numbers(stats.groups) == [("FR", 4, 3)]


_texts = st.sampled_from(["", "a", "b", "ä", "(other)", "long " * 50])
_clicks = st.lists(
    st.fixed_dictionaries(
        {
            "clicked_at": st.integers(-200_000, 31_800_000).map(
                lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
            ),
            "visitor": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5),
            "bot": st.booleans(),
            **dict.fromkeys(GROUPINGS, _texts),
            "country": st.sampled_from(["", "DE", "FR"]),
        }
    ),
    max_size=30,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    batches=st.lists(_clicks, min_size=1, max_size=3),
    interval=st.sampled_from(["day", "week", "month"]),
    timezone=st.sampled_from(["UTC", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    bots=st.sampled_from(["exclude", "include", "only"]),
    limit=st.sampled_from([1, 2, 50]),
)
def test_total_is_the_sum_of_its_parts(
    db: Database, batches: list[list[dict]], interval: str, timezone: str, bots: str, limit: int
) -> None:
    link = new_link()
    for batch in batches:
        count(db, [make_click(link_id=link, **fields) for fields in batch])
    year = whole_year()
    meant = [
        fields
        for batch in batches
        for fields in batch
        if year.start <= fields["clicked_at"] < year.end
        and fields["bot"] in {"exclude": (False,), "only": (True,), "include": (False, True)}[bots]
    ]
    for grouping in GROUPINGS:
        query = whole_year(
            interval=interval, timezone=timezone, bots=bots, group_by=grouping, limit=limit
        )
        stats = stats_of(db).link_stats(1, link, query)
        assert stats.total.clicks == len(meant)
        assert stats.total.visitors == len(
            {(fields["clicked_at"].date(), fields["visitor"] % 2**32) for fields in meant}
        )
        assert sum(tally.clicks for _, tally in stats.series) == len(meant)
        assert sum(tally.clicks for _, tally in stats.groups) == len(meant)
        assert len(stats.groups) <= limit + 1


def test_parts_agree_while_clicks_arrive(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    link = new_link()
    count(db, [make_click(link_id=link, country="DE")])
    stream_counts = store.stream_counts

    def late(*args: object) -> object:
        yield from stream_counts(*args)  # type: ignore[arg-type]
        count(db, [make_click(link_id=link, country="DE")])

    monkeypatch.setattr(store, "stream_counts", late)
    stats = stats_of(db).link_stats(1, link, whole_year(group_by="country"))
    assert stats.total.clicks == 1
    assert numbers(stats.groups) == [("DE", 1, 1)]


@pytest.mark.timeout(60)
def test_simultaneous_writers_lose_nothing_and_never_deadlock(db: Database) -> None:
    workspace, links = new_workspace(), [new_link(slot) for slot in range(6)]
    writers, rounds = 4, 12

    def batch(writer: int, turn: int) -> list[EnrichedClick]:
        order = random.Random(writer * 1_000 + turn)
        return [
            make_click(
                link_id=order.choice(links),
                workspace_id=workspace,
                visitor=(writer * rounds + turn) * 20 + number,
                country=order.choice(["", "DE", "FR", "JP"]),
                referrer=order.choice(["", "a", "b"]),
                bot=order.random() < 0.2,
            )
            for number in range(20)
        ]

    def write(writer: int) -> None:
        for turn in range(rounds):
            count(db, batch(writer, turn))

    with ThreadPoolExecutor(writers) as threads:
        list(threads.map(write, range(writers)))
    everything = writers * rounds * 20
    query = whole_year(bots="include", group_by="country")
    stats = stats_of(db).workspace_stats(workspace, query)
    assert stats.total.clicks == everything
    assert stats.total.visitors == pytest.approx(everything, rel=0.02)
    assert sum(tally.clicks for _, tally in stats.groups) == everything
    of_links = [stats_of(db).link_stats(workspace, link, query).total for link in links]
    assert sum(total.clicks for total in of_links) == everything
    assert sum(total.visitors for total in of_links) == pytest.approx(everything, rel=0.02)


def test_rolled_back_clicks_are_not_counted(db: Database) -> None:
    link = new_link()
    with pytest.raises(RuntimeError), db.write(0) as session:
        clicks = [make_click(link_id=link)]
        StatsService.add(session, StatsService.fold(clicks, {}))
        raise RuntimeError
    assert stats_of(db).link_stats(1, link, whole_year()).total.clicks == 0


def test_count_of_a_row_passes_32_bits(db: Database) -> None:
    link = new_link()
    count(db, [make_click(link_id=link)])
    with db.write(0) as session:
        session.execute(
            text("UPDATE click_counts SET clicks = 5000000000 WHERE subject_id = :link"),
            {"link": link},
        )
    count(db, [make_click(link_id=link)])
    stats = stats_of(db).link_stats(1, link, whole_year(group_by="device"))
    assert stats.total.clicks == 5_000_000_001
