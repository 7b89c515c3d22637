"""What a scanner can make grow: nothing without a bound, in memory, in the spool, in the tables."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from api.clicks.folder import SpoolFolder
from api.clicks.records import ORPHAN_GONE, ORPHAN_ROOT, ORPHAN_UNKNOWN, OrphanRecord, read_segment
from api.clicks.spool import Spool
from api.core.database.routing import Database
from api.core.evictions import Evictions
from api.domains.service import DomainService
from api.redirects import orphans
from api.redirects.orphans import OrphanVisits
from tests.factories.clicks import a_click
from tests.orphans.conftest import Site

HERE = "here.example"


@pytest.fixture
def domains(db: Database) -> DomainService:
    return DomainService(db, Evictions(None, 1.0), b"a secret of the tests only", HERE)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "spool", 1_000_000, 60.0, 100_000_000)
    made.start()
    yield made
    made.close()


@pytest.fixture
def visits(domains: DomainService, spool: Spool) -> Iterator[OrphanVisits]:
    made = OrphanVisits(domains, spool, 60.0)
    made.start()
    yield made
    made.stop()


def written(spool: Spool) -> list[OrphanRecord]:
    """All lines, once the spool is closed."""
    spool.close()
    return [
        orphan
        for path in SpoolFolder(spool.folder.path).ready_segments()
        for orphan in read_segment(path.read_bytes()).orphans
    ]


def test_thousands_of_hosts_and_slugs_make_few_lines(visits: OrphanVisits, spool: Spool) -> None:
    for number in range(20_000):
        visits.add(ORPHAN_UNKNOWN, HERE)
        visits.add(ORPHAN_ROOT, f"h{number}.example")
        visits.add(ORPHAN_UNKNOWN, f"{number}:{number}")
    visits.stop()

    lines = written(spool)
    assert {line[1:] for line in lines} == {
        (ORPHAN_UNKNOWN, HERE, 0, 20_000),
        (ORPHAN_UNKNOWN, "", 0, 20_000),
        (ORPHAN_ROOT, "", 0, 20_000),
    }


def test_keys_past_the_bound_are_counted_as_one(
    domains: DomainService, visits: OrphanVisits, spool: Spool
) -> None:
    for workspace in range(1, 3_001):
        visits.add(ORPHAN_GONE, HERE, workspace)
    visits.add(ORPHAN_GONE, HERE, 1)
    held = len(visits._counts) + len(visits._strangers)
    visits.stop()

    lines = {line[1:] for line in written(spool)}
    assert held == orphans._MOST_KEYS + 1
    assert len(lines) == orphans._MOST_KEYS + 1
    assert (ORPHAN_GONE, HERE, 1, 2) in lines
    assert (ORPHAN_GONE, "", 0, 2_000) in lines


def test_hosts_that_must_be_asked_for_do_not_crowd_out_known_ones(
    domains: DomainService, visits: OrphanVisits, spool: Spool
) -> None:
    for number in range(5_000):
        visits.add(ORPHAN_ROOT, f"h{number}.example")
    held = len(visits._strangers)
    visits.add(ORPHAN_ROOT, HERE)
    visits.stop()

    assert held == orphans._MOST_STRANGERS
    assert (ORPHAN_ROOT, HERE, 0, 1) in {line[1:] for line in written(spool)}


def test_no_visit_is_lost_between_threads(domains: DomainService, spool: Spool) -> None:
    visits = OrphanVisits(domains, spool, 0.001)
    visits.start()

    def scan() -> None:
        for _ in range(5_000):
            visits.add(ORPHAN_UNKNOWN, HERE)

    threads = [threading.Thread(target=scan) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    visits.stop()

    assert sum(line.visits for line in written(spool)) == 20_000


def test_visits_wait_while_the_disk_refuses(
    visits: OrphanVisits, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits.add(ORPHAN_UNKNOWN, HERE)
    visits.add(ORPHAN_ROOT, HERE)

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as full_disk:
        full_disk.setattr(os, "write", refuse)
        visits._write()
    visits.add(ORPHAN_ROOT, HERE)
    visits.stop()

    assert {line[1:] for line in written(spool)} == {
        (ORPHAN_UNKNOWN, HERE, 0, 1),
        (ORPHAN_ROOT, HERE, 0, 2),
    }
    assert spool.state().lost_clicks == 0


def test_visits_share_the_segments_of_clicks(visits: OrphanVisits, spool: Spool) -> None:
    spool.record(a_click(1))
    visits.add(ORPHAN_UNKNOWN, HERE)
    visits.stop()
    spool.record(a_click(2))
    spool.close()

    (path,) = spool.folder.ready_segments()
    segment = read_segment(path.read_bytes())
    assert [record.link_id for record in segment.records] == [1, 2]
    assert [orphan.host for orphan in segment.orphans] == [HERE]


def test_a_process_that_never_started_counts_and_writes_nothing(
    domains: DomainService, spool: Spool
) -> None:
    visits = OrphanVisits(domains, spool, 0.001)
    visits.add(ORPHAN_UNKNOWN, HERE)
    visits.stop()

    assert written(spool) == []


def test_a_scanner_over_http_makes_a_row_for_each_kind(site: Site, db: Database) -> None:
    visitor = site.visitor
    for number in range(400):
        visitor.open(f"/slug-{number}")
        visitor.at(f"h{number}.example").open(f"/slug-{number}")
        visitor.at(f"i{number}.example").open("/")
    site.consume()

    with db.read(0) as session:
        rows = session.scalar(text("SELECT count(*) FROM orphan_visits"))
    # Twice as many where a quarter of an hour ended meanwhile.
    assert rows in range(3, 7)
    assert site.groups() == {
        ("unknown", site.host): 400,
        ("unknown", ""): 400,
        ("root", ""): 400,
    }


def test_a_root_asks_no_database_in_the_request(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = site.claim()
    site.restart()
    asked: list[str] = []
    domains = site.app.extensions["signpost.services"][DomainService]
    monkeypatch.setattr(domains, "owner_of", asked.append)

    site.visitor.at(domain).open("/")
    deadline = time.monotonic() + 10
    while site.app.extensions["signpost"].orphans._strangers and time.monotonic() < deadline:
        time.sleep(0.01)
    site.consume()

    assert asked == []
    assert site.groups() == {("root", domain): 1}


def test_an_answered_visit_is_not_looked_at(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    link = site.caller.create_link()
    called: list[object] = []
    monkeypatch.setattr(OrphanVisits, "add", lambda *call: called.append(call))

    assert site.visitor.follow(link).status_code == 302
    assert called == []
    assert site.visitor.open("/no-such-slug").status_code == 404
    assert len(called) == 1
