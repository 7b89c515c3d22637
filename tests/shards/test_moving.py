"""What a move of slots is made of: the fence, the copy and its proof, giving up, segments."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from api.clicks.enrichment.enricher import Enricher
from api.clicks.ingest import Counting, Ingest
from api.core.database.failures import Moved
from api.core.database.moving import fences, mover, tables
from api.core.database.moving.errors import RowsDiffer, ShardError
from api.core.database.moving.mover import Mover
from api.core.database.moving.peers import Peers
from api.core.database.moving.record import Move, only_mover
from api.core.errors import Unavailable
from api.core.ids import new_id, slot_of_id
from api.links.service import add_clicks, find_places
from api.models import METADATA
from api.stats.service import StatsService
from config.settings import Settings
from tests.factories.clicks import a_click, a_segment
from tests.scripting import run_script
from tests.shards.servers import TwoServers, wait_for

pytestmark = pytest.mark.timeout(300)

_WORKSPACE = 4711
_RAW = f"SELECT count(*) FROM clicks WHERE workspace_id = {_WORKSPACE}"
_TOTALS = (
    "SELECT sum(clicks) FROM link_totals WHERE link_id IN"
    f" (SELECT link_id FROM clicks WHERE workspace_id = {_WORKSPACE})"
)
_OF_WORKSPACE = (
    f"SELECT sum(clicks) FROM click_counts WHERE subject = 2 AND subject_id = {_WORKSPACE}"
    " AND grain = 0"
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoServers]:
    two = TwoServers(tmp_path_factory.mktemp("two"))
    two.start()
    yield two
    two.stop()


@contextmanager
def a_mover(servers: TwoServers) -> Iterator[Mover]:
    peers = Peers(Settings.load(servers.environ))
    with only_mover(peers.main) as directory:
        yield Mover(directory, peers, grace_seconds=0, max_lag_seconds=1)


def do_until(one: Mover, move: Move, step: str) -> None:
    """Some steps of a move."""
    while move.step != step:
        one._steps[move.step](move)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else has a map that could be old."""
    monkeypatch.setattr(mover, "_EVERYBODY_KNOWS_SECONDS", 0.0)


def count(servers: TwoServers, shard: str, query: str) -> int:
    with servers.engines[shard].connect() as connection:
        return int(connection.scalar(text(query)) or 0)


def test_every_table_of_slots_is_moved(servers: TwoServers) -> None:
    ours = set(METADATA["shard"].tables) - {"ingested_segments"}
    for engine in servers.engines.values():
        with engine.connect() as connection:
            assert {table.name for table in tables.find_tables(connection)} == ours


def test_a_database_is_a_shard_once(servers: TwoServers) -> None:
    for url, why in (
        (servers.url["main"], "is the shard main already"),
        (servers.url["second"].replace("/signpost?", "/nobody?"), "does not exist"),
    ):
        done = run_script("shards", "add", "third", url, env=servers.environ)
        assert done.returncode == 1
        assert why in done.stderr
    status = json.loads(servers.run("shards", "status", "--json"))
    assert [shard["name"] for shard in status["shards"]] == ["main", "second"]


def test_a_writer_with_an_old_map_is_refused_and_verify_tells_strangers(
    servers: TwoServers,
) -> None:
    app = servers.app()
    caller = servers.caller(app)
    db = app.extensions["signpost"].db
    link = caller.create_link()
    slot = slot_of_id(int(link["id"]))
    # As a process that was stopped would write: by a map that names the wrong shard.
    with servers.engines["main"].begin() as connection:
        connection.execute(text("INSERT INTO slots VALUES (:slot, 'second')"), {"slot": slot})
        connection.execute(text("UPDATE slot_map SET version = version + 1"))
    db._map.doubt()
    statement = text(
        "INSERT INTO links (slot, id, workspace_id, domain, slug, url)"
        " VALUES (:slot, :id, 1, 'sign.test', 'x', 'https://example.com/')"
    )
    row = {"slot": slot, "id": new_id(slot)}
    with pytest.raises(Unavailable) as refused, db.write(slot) as session:
        session.execute(statement, row)
    assert refused.value.headers["Retry-After"]
    # The rows of another slot, and those that are of none, are not refused.
    with db.write_shard("second") as session:
        home = "INSERT INTO click_horizons VALUES (-1, 1, now())"
        session.execute(text(home))
    done = run_script("shards", "verify", "--json", env=servers.environ)
    faults = {shard["shard"]: shard["faults"] for shard in json.loads(done.stdout)["shards"]}
    assert done.returncode == 1
    assert any("links has 1 rows" in fault for fault in faults["main"])
    assert any("another fence" in fault for fault in faults["second"])
    with servers.engines["main"].begin() as connection:
        connection.execute(text("DELETE FROM slots"))
        connection.execute(text("UPDATE slot_map SET version = version + 1"))
    servers.verified()


def test_a_fence_waits_for_who_writes_and_keeps_copy_quick(servers: TwoServers) -> None:
    peer = Peers(Settings.load(servers.environ)).of("second", {"second": servers.url["second"]})
    writer = servers.engines["second"].connect()
    writer.execute(text("INSERT INTO click_horizons VALUES (-1, 2, now())"))
    with pytest.raises(ShardError, match="click_horizons"):
        fences.set_fences(peer, [(0, 1023)], within_seconds=0.1)
    writer.rollback()
    writer.close()
    fences.set_fences(peer, [(0, 1023)])
    with peer.transaction() as connection:
        assert fences.find_fences(connection) == {}
        assert fences.missing_fences(connection, []) != []
    fences.set_fences(peer, [])
    with peer.transaction() as connection:
        assert fences.missing_fences(connection, []) == []
        kinds = connection.execute(
            text("SELECT DISTINCT tgtype & 2 FROM pg_trigger WHERE tgname LIKE 'fence%'")
        ).all()
    # Not one of them fires before a row: COPY would insert them one by one.
    assert kinds == [(0,)]


@pytest.mark.usefixtures("hurried")
def test_a_copy_that_differs_is_found_and_a_move_that_is_given_up_leaves_nothing(
    servers: TwoServers,
) -> None:
    app = servers.app()
    caller = servers.caller(app)
    links = [caller.create_link(title="a title", tags=["a"]) for _ in range(30)]
    with a_mover(servers) as one:
        (move,) = one.plan([(0, 700)], "second")
        with pytest.raises(ShardError, match="resume or abort"):
            one.plan([(701, 702)], "second")
        do_until(one, move, "fenced")
        with servers.engines["second"].begin() as connection:
            connection.execute(text("SET signpost.moving = on"))
            changed = connection.execute(
                text("UPDATE links SET title = 'another' WHERE id = (SELECT min(id) FROM links)")
            )
            assert changed.rowcount == 1
        with pytest.raises(RowsDiffer, match=r"links \(slots \d+\)"):
            one.run(move)
        # Open again where they are.
        assert move.step == "copying"
        app.extensions["signpost"].db._map.doubt()
        assert caller.patch(f"/links/{links[0]['id']}", {"title": "b"}).status_code == 200
        wait_for(
            lambda: (
                count(servers, "second", "SELECT count(*) FROM links WHERE title = 'b'")
                or slot_of_id(int(links[0]["id"])) > 700
            )
        )
        one.abort(move)
    assert count(servers, "second", "SELECT count(*) FROM links") == 0
    for engine in servers.engines.values():
        with engine.connect() as connection:
            for catalogue in ("pg_publication", "pg_subscription", "pg_replication_slots"):
                assert not connection.scalar(text(f"SELECT count(*) FROM {catalogue}"))
    servers.verified()
    app.extensions["signpost"].db._map.doubt()
    assert len(caller.get("/links?limit=100").json["data"]) == 30


@pytest.mark.usefixtures("hurried")
def test_segments_are_counted_once_whenever_they_come(servers: TwoServers) -> None:
    """Before, during and after a move and its way back, and those that were prepared before."""
    app = servers.app()
    db = app.extensions["signpost"].db
    ingest = Ingest(
        db,
        Enricher(b"a secret of the installation"),
        Counting(
            find_places=find_places,
            fold=StatsService.fold,
            add_counts=StatsService.add,
            add_totals=add_clicks,
        ),
    )
    # Of slots that move, and of one that does not.
    links = [new_id(3), new_id(4), new_id(900)]
    clicks = [a_click(link, workspace_id=_WORKSPACE) for link in links]
    segments = [a_segment(clicks) for _ in range(6)]
    late = ingest.prepare(segments[4:5])

    def deliver(*which: int) -> None:
        db._map.doubt()
        for number in which:
            ingest.ingest([segments[number]])

    def counted() -> set[int]:
        """Raw, by links, and by workspace: in clicks of one link."""
        return {
            sum(count(servers, shard, query) for shard in servers.names) // len(links)
            for query in (_RAW, _TOTALS, _OF_WORKSPACE)
        }

    deliver(0)
    with a_mover(servers) as one:
        (move,) = one.plan([(0, 511)], "second")
        do_until(one, move, "copying")
        deliver(0, 1)
        do_until(one, move, "fenced")
        # By the map of before: the fence refuses it, whole.
        db._map._until = math.inf
        with pytest.raises(Moved):
            ingest.write(late)
        one.run(move)
        deliver(0, 1, 2)
        assert counted() == {3}
        deliver(4, 3, 0, 1, 2)
        assert counted() == {5}
        (back,) = one.plan([(0, 400)], "main")
        one.run(back)
        deliver(0, 1, 2, 3, 4, 5)
        assert counted() == {6}
        rest = one.plan([(0, 511)], "main", at_once=64)
        assert [part.ranges for part in rest] == [[(401, 464)], [(465, 511)]]
        for part in rest:
            one.run(part, until="detached")
        for part in rest:
            one.run(part)
    servers.verified()


@pytest.mark.slow
def test_a_move_waits_for_who_has_begun_to_write_for_however_long(servers: TwoServers) -> None:
    """A replication slot can be made only when all transactions of before have ended."""
    writer = servers.engines["main"].connect()
    writer.execute(text("INSERT INTO click_horizons VALUES (-1, 3, now())"))
    process = servers.script(
        "scripts/shards", "move", "--slots", "5", "--to", "second", "--grace=0"
    )
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    try:
        wait_for(lambda: count(servers, "main", waits))
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(11)
        writer.rollback()
        assert process.wait(60) == 0
    finally:
        writer.close()
        process.kill()
        process.wait()
    servers.move("--slots", "5", "--to", "main", "--grace", "0")
