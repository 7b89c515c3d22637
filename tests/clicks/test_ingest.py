from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from api.clicks import deletions, store
from api.clicks.enrichment.enricher import Enricher
from api.clicks.housekeeping import Housekeeping, forget_segments
from api.clicks.ingest import Counting, Ingest, Outcome
from api.clicks.models import Click
from api.clicks.months import find_missing_months, next_month
from api.clicks.partitions import Partitions
from api.core.database.routing import Database
from api.core.errors import Unavailable
from api.core.ids import slot_of_id
from config.settings import Settings
from tests.clicks.conftest import Counted
from tests.factories.clicks import a_click, a_link_id, a_segment, now_ms

Ask = Callable[[int], Counted]


def _ms(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type]


def _find(db: Database, link_id: int, **changes: Any) -> list[Click]:
    slot = slot_of_id(link_id)
    with db.read(slot) as session:
        arguments = {"before": None, "limit": 100} | changes
        return list(store.find_clicks(session, 7, slot, link_id, **arguments))


def test_a_click_is_stored_with_all_it_tells(db: Database, ingest: Ingest) -> None:
    link = a_link_id()
    moment = now_ms()
    query = "utm_source=back%5Cslash&utm_medium=%5CN&utm_term=a%09b%00"

    outcome = ingest.ingest([a_segment([a_click(link, at_ms=moment, query=query)])])

    assert outcome == Outcome(segments=1, clicks=1)
    (click,) = _find(db, link)
    assert click.clicked_at == datetime.fromtimestamp(moment / 1000, UTC)
    assert click.bot is False
    assert (click.browser, click.system, click.device) == ("Chrome", "Windows", "desktop")
    assert (click.country, click.referrer, click.language) == ("US", "example.org", "de")
    assert (click.utm_source, click.utm_medium, click.utm_term) == ("back\\slash", "\\N", "ab")
    assert click.address is None


def test_the_truncated_address_is_stored_where_it_is_kept(db: Database) -> None:
    keeping = Ingest(db, Enricher(b"x", keep_address=True), Counting())
    link = a_link_id()

    keeping.ingest([a_segment([a_click(link), a_click(link, address="nonsense")])])

    assert {click.address for click in _find(db, link)} == {"8.8.8.0", None}


def test_a_segment_that_comes_again_is_not_counted_again(ingest: Ingest, counted: Ask) -> None:
    link = a_link_id()
    segment = a_segment([a_click(link)] * 3)

    first = ingest.ingest([segment, segment._replace(name="copy")])
    again = ingest.ingest([segment])

    assert (first.clicks, again.clicks, again.repeated) == (3, 0, 3)
    assert counted(link) == Counted(3, 3, 3)


def test_many_segments_in_one_go(ingest: Ingest, counted: Ask) -> None:
    links = [a_link_id() for _ in range(5)]

    outcome = ingest.ingest([a_segment([a_click(link) for link in links]) for _ in range(40)])

    assert outcome == Outcome(segments=40, clicks=200)
    assert [counted(link) for link in links] == [Counted(40, 40, 40)] * 5


def test_consumers_that_race_for_a_segment_count_it_once(
    db: Database, enricher: Enricher, ingest: Ingest, counted: Ask
) -> None:
    link = a_link_id()
    segments = [a_segment([a_click(link)] * 10) for _ in range(20)]
    start = threading.Barrier(3)
    outcomes: list[Outcome] = []

    def race(order: int) -> None:
        start.wait()
        outcomes.append(ingest.ingest(segments[::order]))

    threads = [threading.Thread(target=race, args=(order,)) for order in (1, -1, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(outcome.clicks for outcome in outcomes) == 200
    assert counted(link) == Counted(200, 200, 200)


def test_a_failure_after_the_copy_leaves_nothing(
    db: Database, enricher: Enricher, ingest: Ingest, counted: Ask
) -> None:
    def fail(*_: Any) -> None:
        raise Unavailable("away")

    link = a_link_id()
    segment = a_segment([a_click(link)])
    with pytest.raises(Unavailable):
        Ingest(db, enricher, Counting(add_counts=fail)).ingest([segment])

    assert counted(link) == Counted(0, 0, 0)
    ingest.ingest([segment])
    assert counted(link) == Counted(1, 1, 1)


def test_a_poison_segment_keeps_no_other_from_being_counted(ingest: Ingest, counted: Ask) -> None:
    link = a_link_id()
    poison = a_segment([a_click(link)], tail=b"garbage\n")

    outcome = ingest.ingest([a_segment([a_click(link)]), poison, a_segment([a_click(link)])])

    assert list(outcome.rejected) == [poison.name]
    assert "not JSON" in outcome.rejected[poison.name]
    assert counted(link) == Counted(2, 2, 2)


def test_a_segment_that_cannot_be_written_is_found_and_set_aside(
    db: Database, enricher: Enricher, counted: Ask
) -> None:
    good, bad = a_link_id(), a_link_id()

    def refuse_bad(clicks: Any, _: Any) -> tuple[()]:
        if any(click.link_id == bad for click in clicks):
            raise ValueError("cannot count this")
        return ()

    poison = a_segment([a_click(bad)])
    segments = [a_segment([a_click(good)]), poison, a_segment([a_click(good)])]

    outcome = Ingest(db, enricher, Counting(fold=refuse_bad)).ingest(segments)

    assert outcome.rejected == {poison.name: "ValueError: cannot count this"}
    assert (outcome.clicks, counted(good).rows, counted(bad).rows) == (2, 2, 0)


def test_months_have_their_own_partitions(db: Database, ingest: Ingest) -> None:
    link = a_link_id()
    late, early = _ms(2026, 1, 31, 23, 59, 59) + 999, _ms(2026, 2, 1)

    ingest.ingest([a_segment([a_click(link, at_ms=late), a_click(link, at_ms=early)])])

    with db.read(0) as session:
        places = session.execute(
            text(
                "SELECT tableoid::regclass::text FROM clicks WHERE link_id = :link"
                " ORDER BY clicked_at"
            ),
            {"link": link},
        ).scalars()
        assert list(places) == ["clicks_y2026m01", "clicks_y2026m02"]
        assert find_missing_months(session, [next_month(datetime.now(UTC))]) == []


def test_the_month_after_december_is_january() -> None:
    assert next_month(datetime(2026, 12, 1, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)


def test_makers_of_one_month_do_not_disturb_one_another(db: Database) -> None:
    month = datetime(2021, 7, 1, tzinfo=UTC)
    start = threading.Barrier(4)
    failures: list[BaseException] = []

    def make() -> None:
        start.wait()
        try:
            Partitions(db).ensure(0, [month])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    with db.read(0) as session:
        assert find_missing_months(session, [month]) == []


def test_a_month_that_was_dropped_is_made_again(db: Database, ingest: Ingest, counted: Ask) -> None:
    link = a_link_id()
    moment = _ms(2021, 3, 5)
    ingest.ingest([a_segment([a_click(link, at_ms=moment)])])
    with db.write(0) as session:
        session.execute(text("DROP TABLE clicks_y2021m03"))

    outcome = ingest.ingest([a_segment([a_click(link, at_ms=moment)]) for _ in range(2)])

    assert (outcome.clicks, counted(link).rows) == (2, 2)


def test_a_single_segment_survives_a_dropped_month_too(
    db: Database, ingest: Ingest, counted: Ask
) -> None:
    link = a_link_id()
    moment = _ms(2021, 4, 5)
    ingest.ingest([a_segment([a_click(link, at_ms=moment)])])
    with db.write(0) as session:
        session.execute(text("DROP TABLE clicks_y2021m04"))

    outcome = ingest.ingest([a_segment([a_click(link, at_ms=moment)])])

    assert (outcome.rejected, counted(link).rows) == ({}, 1)


def test_a_database_that_is_away_is_told(settings: Settings, enricher: Enricher) -> None:
    away = Database(
        replace(settings, database_url="postgresql+psycopg2://nobody@127.0.0.1:1/nothing")
    )

    with pytest.raises(Unavailable):
        Ingest(away, enricher, Counting()).ingest([a_segment([a_click(a_link_id())])])


def test_a_connection_that_breaks_during_the_copy_is_told_as_away(
    db: Database, enricher: Enricher, ingest: Ingest, counted: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = a_link_id()
    segment = a_segment([a_click(link)])
    copy = store.copy_clicks

    def killed(session: Any, clicks: Any) -> None:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        with db.write(0) as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 2000)"), {"pid": pid})
        copy(session, clicks)

    with monkeypatch.context() as broken:
        broken.setattr(store, "copy_clicks", killed)
        with pytest.raises(Unavailable):
            ingest.ingest([segment])

    ingest.ingest([segment])
    assert counted(link) == Counted(1, 1, 1)


def test_pages_of_clicks_go_on_where_the_last_one_ended(db: Database, ingest: Ingest) -> None:
    link = a_link_id()
    start = now_ms() - 10_000
    # Pairs of clicks share a moment, so that a place between two of them is needed.
    ingest.ingest([a_segment([a_click(link, at_ms=start + number // 2) for number in range(9)])])

    everything = _find(db, link)
    pages, before = [], None
    while page := _find(db, link, before=before, limit=2):
        pages += page
        before = (page[-1].clicked_at, page[-1].id)

    assert [click.id for click in pages] == [click.id for click in everything]
    assert len(pages) == 9
    assert pages[0].clicked_at > pages[-1].clicked_at


def test_segments_are_forgotten_after_their_time(db: Database, ingest: Ingest) -> None:
    segment = a_segment([a_click(a_link_id())])
    ingest.ingest([segment])
    with db.write(0) as session:
        session.execute(
            text("UPDATE ingested_segments SET ingested_at = now() - interval '31 days'")
        )
    young = a_segment([a_click(a_link_id())])
    ingest.ingest([young])

    while forget_segments(db):
        pass

    with db.read(0) as session:
        left = session.execute(text("SELECT segment_id FROM ingested_segments")).scalars().all()
    assert left == [young.name]
    with db.write(0) as session:
        assert store.delete_segments(session, timedelta(days=30), 10) == 0


def test_chores_wait_for_their_hour_and_survive_a_failure() -> None:
    calls: list[str] = []
    left = [5, 0]

    def clear() -> int:
        calls.append("clear")
        return left.pop(0)

    def fail() -> int:
        calls.append("fail")
        raise Unavailable

    housekeeping = Housekeeping({"fails": fail, "clears": clear})
    for _ in range(5):
        housekeeping()

    assert calls == ["fail", "clear", "clear"]


def test_clicks_that_were_erased_before_they_came_are_not_counted(
    db: Database, ingest: Ingest, counted: Ask
) -> None:
    link, other, moment = a_link_id(), a_link_id(), now_ms()
    with db.write(slot_of_id(link)) as session:
        until = datetime.fromtimestamp(moment / 1000, UTC)
        deletions.upsert_erasure(session, 7, slot_of_id(link), link, until)

    clicks = [a_click(link, at_ms=moment + late) for late in (-2_000, -1, 0, 1, 2)]
    segment = a_segment([*clicks, a_click(other)], created_ms=moment)
    ingest.ingest([segment])
    ingest.ingest([segment])

    assert counted(link) == Counted(2, 2, 2)
    assert counted(other) == Counted(1, 1, 1)
