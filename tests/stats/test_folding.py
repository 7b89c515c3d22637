"""Clicks become counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.core.ids import HOME_SLOT
from api.links.places import LinkPlace
from api.stats.folding import Count, domain_id, fold, tag_id
from api.stats.models import (
    DIMENSIONS,
    GRAIN_DAY,
    GRAIN_QUARTER,
    SUBJECT_DOMAIN,
    SUBJECT_LINK,
    SUBJECT_TAG,
    SUBJECT_WORKSPACE,
)
from api.stats.values import MAX_VALUE_LENGTH, MAX_VALUES, OTHER, bounded, merge, values
from tests.stats.samples import NOON, make_click, new_link

QUARTER_OF_NOON = int(NOON.timestamp()) // 900


def split_of(count: Count, dimension: str) -> dict[str, int]:
    packed = count.fold.dimensions[DIMENSIONS.index(dimension)]
    return {
        value: clicks for value, clicks, _ in values(count.fold.clicks, count.fold.visitors, packed)
    }


def only(counts: list[Count], subject: int, grain: int = GRAIN_QUARTER) -> list[Count]:
    return [count for count in counts if (count.subject, count.grain) == (subject, grain)]


def test_a_click_counts_for_its_link_workspace_domain_and_tags_by_quarter_and_day() -> None:
    link = new_link(slot=9)
    click = make_click(link_id=link, workspace_id=4, country="DE")
    counts = fold([click], {link: LinkPlace("go.example", ("a", "b"))})
    assert {(count.slot, count.subject, count.subject_id) for count in counts} == {
        (9, SUBJECT_LINK, link),
        (HOME_SLOT, SUBJECT_WORKSPACE, 4),
        (HOME_SLOT, SUBJECT_DOMAIN, domain_id(4, "go.example")),
        (HOME_SLOT, SUBJECT_TAG, tag_id(4, "a")),
        (HOME_SLOT, SUBJECT_TAG, tag_id(4, "b")),
    }
    starts = {(GRAIN_QUARTER, QUARTER_OF_NOON), (GRAIN_DAY, QUARTER_OF_NOON // 96)}
    assert {(count.grain, count.start) for count in counts} == starts
    assert len(counts) == 10
    assert all(split_of(count, "country") == {"DE": 1} for count in counts)
    assert all(split_of(count, "utm_term") == {"": 1} for count in counts)


def test_a_link_that_is_unknown_counts_for_itself_and_its_workspace() -> None:
    counts = fold([make_click(link_id=new_link())], {})
    assert {count.subject for count in counts} == {SUBJECT_LINK, SUBJECT_WORKSPACE}


def test_names_of_two_workspaces_are_never_one() -> None:
    assert len({tag_id(1, "a"), tag_id(2, "a"), tag_id(1, "b"), domain_id(1, "a")}) == 4


def test_clicks_of_a_key_fold_into_one_count() -> None:
    link = new_link()
    clicks = [make_click(link_id=link, browser=name) for name in ("Firefox", "Safari", "Firefox")]
    (count,) = only(fold(clicks, {}), SUBJECT_LINK)
    assert split_of(count, "browser") == {"Firefox": 2, "Safari": 1}
    assert count.fold.clicks == 3


def test_quarters_and_bots_are_kept_apart() -> None:
    link = new_link()
    moments = (NOON - timedelta(milliseconds=1), NOON, NOON + timedelta(minutes=14, seconds=59))
    clicks = [make_click(link_id=link, clicked_at=moment) for moment in moments]
    counts = fold([*clicks, make_click(link_id=link, bot=True)], {})
    assert {
        (count.start - QUARTER_OF_NOON, count.bot): count.fold.clicks
        for count in only(counts, SUBJECT_LINK)
    } == {(-1, False): 1, (0, False): 2, (0, True): 1}
    assert {count.bot: count.fold.clicks for count in only(counts, SUBJECT_LINK, GRAIN_DAY)} == {
        False: 3,
        True: 1,
    }


def test_click_before_1970_falls_into_its_own_quarter() -> None:
    early = datetime(1969, 12, 31, 23, 59, tzinfo=UTC)
    assert {count.start for count in fold([make_click(clicked_at=early)], {})} == {-1}


def test_the_same_clicks_are_folded_once() -> None:
    clicks = [make_click(link_id=new_link()) for _ in range(3)]
    counts = fold(clicks, {click.link_id: LinkPlace("d", ("t",)) for click in clicks})
    # One for each link, one for workspace, domain and tag together.
    assert len({id(count.fold) for count in counts}) == 4


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("DE", "DE"),
        ("x" * 500, "x" * MAX_VALUE_LENGTH),
        ("ü" * 500, "ü" * MAX_VALUE_LENGTH),
        ("a\ud800", "a?"),
    ],
)
def test_value_is_bounded(sent: str, kept: str) -> None:
    assert bounded(sent) == kept


def test_values_that_are_one_when_bounded_fold_into_one() -> None:
    long = "x" * MAX_VALUE_LENGTH
    link = new_link()
    clicks = [make_click(link_id=link, utm_term=term) for term in (long, long + "1", long + "2")]
    (count,) = only(fold(clicks, {}), SUBJECT_LINK)
    assert split_of(count, "utm_term") == {long: 3}


def test_the_values_with_the_most_clicks_stay_and_the_rest_is_one() -> None:
    link = new_link()
    referrers = [f"{place}.example" for place in range(3 * MAX_VALUES)]
    clicks = [make_click(link_id=link, referrer=name) for name in [*referrers, *referrers[-5:]]]
    (count,) = only(fold(clicks, {}), SUBJECT_LINK)
    split = split_of(count, "referrer")
    assert len(split) == MAX_VALUES + 1
    assert all(split[name] == 2 for name in referrers[-5:])
    assert split[OTHER] == 2 * MAX_VALUES
    assert sum(split.values()) == len(clicks)

    packed = count.fold.dimensions[DIMENSIONS.index("referrer")]
    part = (count.fold.clicks, count.fold.visitors, packed)
    again = merge([part, part])
    merged = {value: clicks for value, clicks, _ in values(2 * len(clicks), b"", again)}
    assert merged == {value: 2 * number for value, number in split.items()}
