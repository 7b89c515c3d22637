"""Slots move from server to server while everything goes on: nothing is lost, nothing doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.shards.load import Load
from tests.shards.servers import TwoServers

pytestmark = pytest.mark.timeout(600)

STEPS = ("announced", "copying", "closed", "fenced", "flipped", "opened", "detached")
_QUICK = ("--grace", "1", "--at-once", "1024")


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoServers]:
    # One link only is known to a process, so that redirects ask the database all the time.
    two = TwoServers(
        tmp_path_factory.mktemp("two"),
        REDIRECT_CACHE_ENTRIES="1",
        REDIRECT_SHARED_SECONDS="0",
        REDIRECT_WARM_ENTRIES="0",
    )
    two.start()
    yield two
    two.stop()


def check_balance(servers: TwoServers, load: Load) -> None:
    """What is there is what was answered, no more and no less."""
    assert load.wrong == []
    servers.verified()
    caller = load.callers[0]
    rows = servers.rows("SELECT id, slug, title FROM links")
    assert sorted(row.slug for row in rows) == sorted(load.links)
    titles = {row.slug: row.title for row in rows if row.title}
    assert titles == load.titles
    by_link = {link["id"]: slug for slug, link in load.links.items()}
    raw = Counter[str]()
    for link_id, clicks in servers.rows("SELECT link_id, count(*) FROM clicks GROUP BY link_id"):
        raw[by_link[str(link_id)]] += clicks
    assert raw == load.redirects
    totals = Counter[str]()
    for link_id, clicks in servers.rows("SELECT link_id, clicks FROM link_totals"):
        totals[by_link[str(link_id)]] += clicks
    assert totals == load.redirects
    assert caller.get("/stats").json["total"]["clicks"] == load.redirects.total()
    for slug, link in list(load.links.items())[::10]:
        stats = caller.get(f"/links/{link['id']}/stats").json
        assert stats["total"]["clicks"] == load.redirects[slug]


def move_with_kills(servers: TwoServers, steps: tuple[str, ...], *arguments: str) -> None:
    """A move whose process is killed at steps, and that another process ends."""
    first = ("--slots", *arguments, *_QUICK)
    killed = 0
    for step in steps:
        killed += servers.killed_at(step, *(first if step == steps[0] else ("--resume", *_QUICK)))
    assert killed == len(steps)
    servers.move("--resume", *_QUICK)


def run_moves(servers: TwoServers, steps: tuple[str, ...], *, back: bool) -> Load:
    """Move half of the slots under load; `back` moves some of them home again."""
    app, other = servers.app(), servers.app()
    load = Load(servers.caller(app), other)
    load.create(40)
    with servers.consumer():
        with load:
            move_with_kills(servers, steps, "0-511", "--to", "second")
            if back:
                move_with_kills(servers, steps[::-1][:1], "256-400,410", "--to", "main")
        for one in (app, other):
            one.extensions["signpost"].stop_worker()
    check_balance(servers, load)
    return load


def test_slots_move_under_load_although_their_mover_is_killed(servers: TwoServers) -> None:
    load = run_moves(servers, ("copying", "closed", "flipped"), back=False)
    moved = {row.id for row in servers.rows("SELECT id FROM links WHERE slot < 512")}
    assert len(moved) > 10
    assert load.statuses["visit", 302] == load.redirects.total()
    with servers.engines["second"].connect() as connection:
        rows = connection.exec_driver_sql("SELECT id FROM links").all()
    assert {row.id for row in rows} == moved


@pytest.mark.slow
def test_a_mover_may_be_killed_at_every_step_and_slots_move_back(servers: TwoServers) -> None:
    load = run_moves(servers, STEPS, back=True)
    # What is counted of a workspace is counted anew where the clicks are now, and is as much.
    servers.run("rebuild-stats")
    check_balance(servers, load)
