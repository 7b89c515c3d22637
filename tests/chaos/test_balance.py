"""The balance itself: it must see every way in which clicks can be lost or counted twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text

from api.clicks.enrichment.enricher import Enricher
from api.clicks.ingest import Counting, Ingest
from api.core.database.routing import Database
from api.links.service import add_clicks
from api.stats.service import StatsService
from config.settings import Settings
from tests.chaos.balance import Balance, strike_balance
from tests.chaos.visitors import ANSWERED, CUT_OFF, REFUSED, Request
from tests.conftest import migrated_database
from tests.factories.clicks import a_click, a_link_id, a_segment

LINKS = [a_link_id(), a_link_id()]
# Requests 0 to 9, of both links in turn; 3 was cut off and 4 refused.
OUTCOMES = {3: CUT_OFF, 4: REFUSED}
REQUESTS = [Request(number, number % 2, OUTCOMES.get(number, ANSWERED)) for number in range(10)]
COUNTED = [request for request in REQUESTS if request.outcome != REFUSED]


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A database that has counted the requests."""
    with migrated_database() as url:
        settings = Settings.load({"DATABASE_URL": url})
        db = Database(settings)
        counting = Counting(
            fold=StatsService.fold, add_counts=StatsService.add, add_totals=add_clicks
        )
        ingest = Ingest(db, Enricher(b"a secret"), counting)
        clicks = [
            a_click(LINKS[request.link], query=f"utm_content={request.number}")
            for request in COUNTED
        ]
        assert ingest.ingest([a_segment(clicks)]).clicks == len(COUNTED)
        db.dispose()
        engine = create_engine(str(settings.database_url))
        with engine.connect() as connection:
            yield connection
        engine.dispose()


def strike(connection: Connection, *statements: str) -> Balance:
    for statement in statements:
        connection.execute(text(statement), {"link": LINKS[0], "other": LINKS[1]})
    return strike_balance(connection, REQUESTS, LINKS)


def test_balance_holds_where_everything_is_counted_once(connection: Connection) -> None:
    balance = strike(connection)
    assert balance.holds
    assert set(balance.totals.values()) == {len(COUNTED)}
    assert balance.cut_off_counted == 1


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM clicks WHERE utm_content = '5'", lambda b: b.missing == [5]),
        ("UPDATE clicks SET utm_content = '7' WHERE utm_content = '5'", lambda b: b.repeated),
        ("UPDATE clicks SET utm_content = '4' WHERE utm_content = '3'", lambda b: b.unasked),
        ("UPDATE clicks SET utm_content = 'x' WHERE utm_content = '3'", lambda b: b.unasked),
        ("UPDATE clicks SET link_id = :other WHERE utm_content = '6'", lambda b: b.misplaced),
        ("UPDATE link_totals SET clicks = clicks + 1", lambda b: len(b.differences) == 2),
        (
            "UPDATE click_counts SET clicks = clicks + 1 WHERE subject_id = :link AND grain = 0",
            lambda b: list(b.differences) == [str(LINKS[0])],
        ),
        (
            "UPDATE click_counts SET clicks = clicks + 1 WHERE subject_id = :link AND grain = 1",
            lambda b: list(b.differences) == [str(LINKS[0])],
        ),
        ("DELETE FROM click_counts WHERE subject = 1", lambda b: len(b.differences) == 2),
    ],
)
def test_every_fault_is_found(
    connection: Connection, statement: str, found: Callable[[Balance], Any]
) -> None:
    balance = strike(connection, statement)
    assert not balance.holds
    assert found(balance)
    assert balance.as_json()["holds"] is False


def test_cut_off_requests_need_not_be_counted(connection: Connection) -> None:
    balance = strike(connection, "DELETE FROM clicks WHERE utm_content = '3'")
    assert balance.missing == []
    assert balance.cut_off_counted == 0


def test_segments_that_wait_or_were_rejected_break_the_balance(connection: Connection) -> None:
    balance = strike(connection)
    balance.segments_left = 1
    assert not balance.holds
    balance.segments_left, balance.segments_rejected = 0, 1
    assert not balance.holds
