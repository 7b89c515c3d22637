"""How long raw clicks are kept: by workspace, batch by batch, and what is made ahead of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from api.clicks.housekeeping import Batches, Housekeeping
from api.clicks.ingest import Ingest
from api.clicks.months import find_months, month_of, next_month, partition_name
from api.clicks.partitions import make_months_ahead
from api.clicks.retention import Purged, Retention
from api.clicks.service import find_horizons
from api.core.database.routing import Database
from api.identity.service import IdentityService
from tests.caller import Caller
from tests.factories.clicks import a_click, a_segment

NOW = datetime.now(UTC)


@pytest.fixture
def retention(db: Database, identity: IdentityService) -> Retention:
    return Retention(db, identity, 0)


@pytest.fixture
def visit(ingest: Ingest) -> Callable[..., None]:
    """A click of a link on each of some days ago."""

    def ingest_clicks(caller: Caller, link: dict[str, Any], *days_ago: float) -> None:
        moments = [NOW - timedelta(days=days) for days in days_ago]
        clicks = [
            a_click(
                int(link["id"]),
                workspace_id=caller.workspace_id,
                at_ms=int(moment.timestamp() * 1000) + number,
            )
            for number, moment in enumerate(moments)
        ]
        ingest.ingest([a_segment(clicks)])

    return ingest_clicks


def keep(caller: Caller, days: int | None) -> None:
    path = f"/workspaces/{caller.workspace_id}"
    assert caller.patch(path, {"click_retention_days": days}).status_code == 200


def shown(caller: Caller, link: dict[str, Any]) -> int:
    return len((caller.get(f"/links/{link['id']}/clicks?limit=200").json or {})["data"])


def purge(retention: Retention, caller: Caller | None = None, batch: int = 1_000) -> Purged:
    """Purge all workspaces, or that of a caller."""
    purged = Purged()
    cutoffs = retention.cutoffs(caller.workspace_id if caller else None)
    for _ in retention.purge(cutoffs, purged, batch=batch):
        pass
    return purged


def horizon(db: Database, caller: Caller) -> datetime | None:
    with db.read(0) as session:
        return find_horizons(session).get(caller.workspace_id)


def test_each_workspace_keeps_its_clicks_for_as_long_as_it_says(
    caller: Caller, other_caller: Caller, retention: Retention, visit: Callable[..., None]
) -> None:
    link, other = caller.create_link(), other_caller.create_link()
    for owner, owned in ((caller, link), (other_caller, other)):
        visit(owner, owned, 0, 5, 29, 31, 70, 400)
    keep(caller, 30)
    purged = purge(retention)
    assert shown(caller, link) == 3
    assert shown(other_caller, other) == 6
    of_workspace: Counter[int] = Counter()
    for (workspace, _), clicks in purged.deleted.items():
        of_workspace[workspace] += clicks
    assert of_workspace[caller.workspace_id] == 3
    assert of_workspace[other_caller.workspace_id] == 0
    keep(caller, 4)
    purge(retention)
    assert shown(caller, link) == 1
    keep(caller, None)
    visit(caller, link, 900)
    purge(retention)
    assert shown(caller, link) == 2


def test_statistics_outlive_raw_clicks(
    caller: Caller, retention: Retention, visit: Callable[..., None]
) -> None:
    link = caller.create_link()
    visit(caller, link, 1, 40, 41)
    keep(caller, 30)
    purge(retention)
    start = f"{NOW - timedelta(days=50):%Y-%m-%d}"
    for path in (f"/links/{link['id']}/stats", "/stats"):
        answer = caller.get(f"{path}?from={start}").json or {}
        assert answer["total"]["clicks"] == 3
    assert (caller.get(f"/links/{link['id']}").json or {})["clicks"] == 3


def test_clicks_are_complete_from_the_cutoff_on_and_never_earlier_again(
    caller: Caller, other_caller: Caller, db: Database, retention: Retention
) -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    keep(caller, 30)
    purge(retention)
    assert horizon(db, caller) == midnight - timedelta(days=30)
    assert horizon(db, other_caller) is None
    keep(caller, 90)
    purge(retention)
    assert horizon(db, caller) == midnight - timedelta(days=30)
    keep(caller, 3)
    purge(retention)
    assert horizon(db, caller) == midnight - timedelta(days=3)


def test_the_horizon_moves_before_anything_is_deleted(
    caller: Caller, db: Database, retention: Retention, visit: Callable[..., None]
) -> None:
    link = caller.create_link()
    visit(caller, link, 400)
    keep(caller, 30)
    running = retention.purge(retention.cutoffs(caller.workspace_id), Purged(), batch=10)
    assert next(running) == 0
    assert horizon(db, caller) is not None
    assert shown(caller, link) == 1


def test_what_a_stopped_purge_left_is_deleted_by_the_next(
    caller: Caller, retention: Retention, visit: Callable[..., None]
) -> None:
    links = [caller.create_link(f"https://example.com/{number}") for number in range(3)]
    for link in links:
        visit(caller, link, *(400 + number for number in range(8)))
    keep(caller, 30)
    running = retention.purge(retention.cutoffs(caller.workspace_id), Purged(), batch=2)
    deleted = 0
    while deleted < 7:
        batch = next(running)
        assert batch <= 2
        deleted += batch
    running.close()
    assert sum(shown(caller, link) for link in links) == 24 - deleted
    assert sum(purge(retention, caller).deleted.values()) == 24 - deleted
    assert sum(shown(caller, link) for link in links) == 0


def test_clicks_of_one_moment_are_deleted_however_small_the_batch(
    caller: Caller, retention: Retention, ingest: Ingest
) -> None:
    link = caller.create_link()
    moment = int((NOW - timedelta(days=400)).timestamp() * 1000)
    click = a_click(int(link["id"]), workspace_id=caller.workspace_id, at_ms=moment)
    ingest.ingest([a_segment([click] * 7)])
    keep(caller, 30)
    purge(retention, caller, batch=2)
    assert shown(caller, link) == 0


def test_housekeeping_deletes_a_batch_at_a_time(
    caller: Caller, retention: Retention, visit: Callable[..., None]
) -> None:
    link = caller.create_link()
    visit(caller, link, *(400 + number for number in range(6)))
    keep(caller, 30)
    told: list[int | None] = []
    cutoffs = retention.cutoffs(caller.workspace_id)
    chore = Batches(lambda: retention.purge(cutoffs, Purged(), batch=2))

    def noted() -> int | None:
        told.append(chore())
        return told[-1]

    housekeeping = Housekeeping({"clicks past their retention": noted}, every_seconds=3_600)
    left = []
    while not told or told[-1] != 0:
        housekeeping()
        left.append(shown(caller, link))
    assert sorted(set(left), reverse=True) == [6, 4, 2, 0]
    housekeeping()
    assert len(left) == len(told)


def test_a_chore_that_fails_begins_anew() -> None:
    begun: list[int] = []

    def begin() -> Any:
        begun.append(1)
        yield 5
        raise ValueError("the database is away")

    chore = Batches(begin)
    assert chore() == 5
    with pytest.raises(ValueError, match="away"):
        chore()
    assert chore() == 5
    assert len(begun) == 2


def test_this_month_and_the_next_two_are_made_ahead(db: Database) -> None:
    months = [month_of(NOW)]
    for _ in range(2):
        months.append(next_month(months[-1]))
    with db.write(0) as session:
        session.execute(text(f"DROP TABLE IF EXISTS {partition_name(months[-1])}"))
    assert make_months_ahead(db) >= 1
    with db.read(0) as session:
        attached = {month.first for month in find_months(session) if month.attached}
    assert set(months) <= attached
    assert make_months_ahead(db) == 0
