"""Exports as a server sends them: to clients that read, that do not, and that go away."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api.clicks.partitions import make_months_ahead
from api.core.database.routing import Database
from tests.caller import Caller
from tests.live.conftest import Web, webs
from tests.running import children_of, wait_until
from tests.transfers.readers import ExportReader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

MANY = 20_000
# Of ten links, so many of each.
_LINKS = 10
_ADD_LINKS = text(
    """
    WITH made AS (
        INSERT INTO links (slot, id, workspace_id, domain, slug, url)
        SELECT n, (n << 22) | (n << 12) | (:workspace % 4096), :workspace, 'sign.test',
               'export-' || :workspace || '-' || n, 'https://example.com/'
        FROM generate_series(1::bigint, :links) AS n RETURNING slot, id
    )
    INSERT INTO link_totals (slot, link_id, clicks, last_clicked_at)
    SELECT slot, id, :each, now() FROM made
    """
)
_ADD_CLICKS = text(
    """
    INSERT INTO clicks (slot, link_id, clicked_at, id, workspace_id, visitor, bot, referrer)
    SELECT slot, id, now() - n % 1000 * interval '1 s', n, :workspace, n, false,
           repeat('a long referrer ', 15)
    FROM links, generate_series(1::bigint, :each) AS n
    WHERE workspace_id = :workspace AND slot = :slot
    """
)
# In the middle of a step, or between two.
_READING = "datname = current_database() AND state <> 'idle' AND query LIKE 'FETCH%'"
_COUNT = text(f"SELECT count(*) FROM pg_stat_activity WHERE {_READING}")
_END = text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_READING}")


def fill(db: Database, caller: Caller, many: int) -> None:
    """Give a workspace clicks by the thousand."""
    make_months_ahead(db)
    values = {"workspace": caller.workspace_id, "links": _LINKS, "each": many // _LINKS}
    with db.write(0) as session:
        session.execute(_ADD_LINKS, values)
        for slot in range(1, _LINKS + 1):
            session.execute(_ADD_CLICKS, values | {"slot": slot})


def readers(db: Database) -> int:
    """How many connections to the database hold an export's cursor."""
    with db.read(0) as session:
        return int(session.scalar(_COUNT))


def place_of(row: dict[str, Any]) -> str:
    return ",".join((row["link_id"], row["clicked_at"], row["id"]))


@pytest.fixture(scope="module")
def web(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    home = tmp_path_factory.mktemp("exports")
    with webs(environ, home) as make:
        yield make(
            EXPORT_STREAMS="2",
            EXPORT_STREAMS_PER_WORKSPACE="1",
            EXPORT_STUCK_SECONDS="3",
            SIGNPOST_HOME=str(home),
        )


@pytest.fixture
def rich(db: Database, caller: Caller) -> Caller:
    fill(db, caller, MANY)
    return caller


def opened(web: Web, caller: Caller, path: str) -> ExportReader:
    """An export, once there is a place for it."""
    for _ in range(100):
        reader = ExportReader(web.port, caller.key, path)
        if reader.status == 200:
            return reader
        assert reader.status in (429, 503)
        reader.leave()
        time.sleep(0.1)
    raise AssertionError("there is no place")


def memory_mb(web: Web) -> float:
    """The most that the worker ever had in memory."""
    (worker,) = children_of(web.process.pid)
    status = Path(f"/proc/{worker}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def test_client_that_goes_away_frees_its_place_and_its_connection(
    web: Web, rich: Caller, db: Database, other_caller: Caller
) -> None:
    with opened(web, rich, "clicks") as reader:
        reader.read(100_000)
        with ExportReader(web.port, rich.key, "links") as another:
            assert another.status == 429
        # Others have places of their own.
        opened(web, other_caller, "links").leave()
        assert readers(db) == 1
    wait_until(lambda: readers(db) == 0, 10)
    opened(web, rich, "links").leave()


def test_what_was_cut_off_goes_on_and_gives_each_row_once(web: Web, rich: Caller) -> None:
    with opened(web, rich, "clicks") as reader:
        reader.read(2_000_000)
    rows = reader.rows
    assert 2_000 < len(rows) < MANY
    with opened(web, rich, f"clicks?after={place_of(rows[-1])}") as rest:
        rest.read_all()
    assert rest.ended_whole, web.output
    assert rest.lines[-1]["end"]["complete"]
    check_all(rows + rest.rows)


def check_all(rows: list[dict[str, Any]]) -> None:
    """That each is there, once, in its order."""
    assert len(rows) == MANY
    places = [(int(row["link_id"]), row["clicked_at"], int(row["id"])) for row in rows]
    assert places == sorted(set(places))


def test_export_goes_on_when_its_connection_to_the_database_ends(
    web: Web, rich: Caller, db: Database
) -> None:
    with opened(web, rich, "clicks") as reader:
        reader.read(1_000_000)
        with db.write(0) as session:
            assert len(session.execute(_END).all()) == 1
        reader.read_all()
    assert reader.ended_whole
    check_all(reader.rows)


def test_client_that_stands_still_is_cut_off(web: Web, rich: Caller, db: Database) -> None:
    with opened(web, rich, "clicks") as reader:
        reader.read(1000)
        wait_until(lambda: readers(db) == 0, 30)
        reader.read_all()
    assert not reader.ended_whole
    assert len(reader.rows) < MANY


def test_memory_does_not_grow_with_the_rows(
    web: Web, db: Database, caller: Caller, other_caller: Caller
) -> None:
    compare_memory(web, db, caller, other_caller, MANY)


@pytest.mark.slow
def test_memory_does_not_grow_with_many_rows(
    web: Web, db: Database, caller: Caller, other_caller: Caller
) -> None:
    compare_memory(web, db, caller, other_caller, 100_000)


def compare_memory(web: Web, db: Database, poor: Caller, rich: Caller, many: int) -> None:
    """Whether an export of so many takes as much as one of a thousand."""
    fill(db, poor, 1_000)
    fill(db, rich, many)
    seen = []
    for caller, size in ((poor, 1_000), (rich, many)):
        for _ in range(2):
            with opened(web, caller, "clicks?format=csv&trailer=true") as reader:
                reader.read_all()
            assert reader.data.endswith(f"#end,true,{size},\r\n".encode())
        seen.append(memory_mb(web))
    assert seen[1] - seen[0] < 10


def test_server_that_stops_says_where_to_go_on(web: Web, rich: Caller) -> None:
    (worker,) = children_of(web.process.pid)
    with opened(web, rich, "clicks") as reader:
        reader.read(100_000)
        os.kill(worker, signal.SIGTERM)
        reader.read_all()
    assert not reader.ended_whole
    end = reader.lines[-1]["end"]
    assert (end["complete"], end["rows"]) == (False, len(reader.rows))
    wait_until(lambda: worker not in children_of(web.process.pid))
    with opened(web, rich, f"clicks?cursor={end['cursor']}") as rest:
        rest.read_all()
    check_all(reader.rows + rest.rows)
