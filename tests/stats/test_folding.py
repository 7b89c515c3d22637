"""Clicks become rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.stats.folding import MAX_VALUE_LENGTH, CountKey, bounded, fold
from api.stats.models import DIMENSIONS, SUBJECT_LINK, SUBJECT_WORKSPACE
from tests.stats.samples import NOON, make_click, new_link

QUARTER_OF_NOON = int(NOON.timestamp()) // 900


def test_a_click_counts_for_its_link_and_its_workspace_by_every_dimension() -> None:
    link = new_link(slot=9)
    rows = fold([make_click(link_id=link, workspace_id=4, country="DE")])
    assert len(rows) == 2 * len(DIMENSIONS)
    by_country = DIMENSIONS["country"]
    quarter = QUARTER_OF_NOON
    assert rows[CountKey(9, SUBJECT_LINK, link, by_country, quarter, False, "DE")].clicks == 1
    assert rows[CountKey(0, SUBJECT_WORKSPACE, 4, by_country, quarter, False, "DE")].clicks == 1
    assert CountKey(9, SUBJECT_LINK, link, DIMENSIONS["utm_term"], quarter, False, "") in rows


def test_clicks_of_a_key_fold_into_one_row() -> None:
    link = new_link()
    clicks = [make_click(link_id=link, browser=name) for name in ("Firefox", "Safari", "Firefox")]
    rows = {key: visits for key, visits in fold(clicks).items() if key.subject == SUBJECT_LINK}
    browsers = {
        key.value: visits.clicks
        for key, visits in rows.items()
        if key.dimension == DIMENSIONS["browser"]
    }
    assert browsers == {"Firefox": 2, "Safari": 1}
    assert sum(visits.clicks for visits in rows.values()) == 3 * len(DIMENSIONS)


def test_quarters_and_bots_are_kept_apart() -> None:
    link = new_link()
    moments = (NOON - timedelta(microseconds=1), NOON, NOON + timedelta(minutes=14, seconds=59))
    clicks = [make_click(link_id=link, clicked_at=moment) for moment in moments]
    rows = fold([*clicks, make_click(link_id=link, bot=True)])
    totals = {
        (key.quarter - QUARTER_OF_NOON, key.bot): visits.clicks
        for key, visits in rows.items()
        if key.subject == SUBJECT_LINK and key.dimension == DIMENSIONS["total"]
    }
    assert totals == {(-1, False): 1, (0, False): 2, (0, True): 1}


def test_click_before_1970_falls_into_its_own_quarter() -> None:
    early = datetime(1969, 12, 31, 23, 59, tzinfo=UTC)
    assert {key.quarter for key in fold([make_click(clicked_at=early)])} == {-1}


def test_rows_of_the_same_clicks_share_a_sketch() -> None:
    link = new_link()
    rows = fold([make_click(link_id=link) for _ in range(3)])
    assert len({id(visits) for visits in rows.values()}) == 2  # the link's, the workspace's


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("DE", "DE"),
        ("a\0b", "ab"),
        ("x" * 500, "x" * MAX_VALUE_LENGTH),
        ("ü" * 500, "ü" * MAX_VALUE_LENGTH),
        ("a\ud800", "a?"),
    ],
)
def test_value_is_bounded(sent: str, kept: str) -> None:
    assert bounded(sent) == kept


def test_values_that_are_one_when_bounded_fold_into_one_row() -> None:
    link = new_link()
    clicks = [make_click(link_id=link, utm_term=term) for term in ("a\0", "a", "\0")]
    terms = {
        key.value: visits.clicks
        for key, visits in fold(clicks).items()
        if key.subject == SUBJECT_LINK and key.dimension == DIMENSIONS["utm_term"]
    }
    assert terms == {"a": 2, "": 1}
