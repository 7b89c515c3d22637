"""Visits without a link, from the visitor to the answer of the API."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import text

from api.clicks.records import OrphanRecord, read_segment
from api.core.database.routing import Database
from api.core.ids import slot_of_host
from tests.caller import Caller
from tests.orphans.conftest import Site

FAR = "2090-01-01T00:00:00Z"


def test_each_kind_is_counted_at_its_host(site: Site) -> None:
    domain = site.claim()
    links = {
        name: site.caller.create_link(**fields)
        for name, fields in {
            "disabled": {"state": "disabled"},
            "scheduled": {"starts_at": FAR},
            "used up": {"max_clicks": 1},
            "deleted": {},
        }.items()
    }
    there = site.caller.create_link(domain=domain)
    site.caller.delete(f"/links/{links['deleted']['id']}")
    site.caller.delete(f"/links/{there['id']}")
    visitor = site.visitor

    statuses = [
        visitor.open("/no-such-slug").status_code,
        visitor.open("/nor-this", method="HEAD").status_code,
        visitor.follow(links["disabled"]).status_code,
        visitor.follow(links["scheduled"]).status_code,
        visitor.follow(links["used up"]).status_code,
        visitor.follow(links["used up"]).status_code,
        visitor.follow(links["deleted"]).status_code,
        visitor.at(domain).follow(there).status_code,
        visitor.at(domain).open("/no-such-slug").status_code,
        visitor.open("/").status_code,
        visitor.at(domain).open("/").status_code,
        visitor.at(f"{domain.upper()}:8000").open("/").status_code,
        visitor.at("nobody.example").open("/").status_code,
        visitor.at("nobody.example").open("/no-such-slug").status_code,
    ]
    figures = site.consume_by_script()

    assert statuses == [404, 404, 404, 404, 302, 410, 410, 410, 404, 200, 200, 200, 200, 404]
    assert figures["clicks"] == 1
    assert site.groups() == {
        ("unknown", site.host): 2,
        ("inactive", site.host): 2,
        ("gone", site.host): 2,
        ("gone", domain): 1,
        ("unknown", domain): 1,
        ("root", site.host): 1,
        ("root", domain): 2,
        ("root", ""): 1,
        ("unknown", ""): 1,
    }


def test_an_expired_link_is_gone(site: Site, db: Database) -> None:
    link = site.caller.create_link()
    with db.write(0) as session:
        session.execute(
            text("UPDATE links SET expires_at = now() - interval '1 s' WHERE id = :id"),
            {"id": int(link["id"])},
        )

    assert site.visitor.follow(link).status_code == 410
    site.consume()

    assert site.groups() == {("gone", site.host): 1}


def test_a_workspace_sees_its_own_and_what_is_nobodys(site: Site, other_caller: Caller) -> None:
    domain = site.claim()
    link = site.caller.create_link(state="disabled")
    site.visitor.follow(link)
    site.visitor.at(domain).open("/no-such-slug")
    site.visitor.open("/no-such-slug")
    site.consume()

    assert site.groups() == {
        ("inactive", site.host): 1,
        ("unknown", domain): 1,
        ("unknown", site.host): 1,
    }
    assert site.groups(other_caller) == {("unknown", site.host): 1}
    assert site.groups(other_caller, host=domain) == {}


def test_a_link_of_an_earlier_holder_is_unknown_and_counts_for_the_present_one(
    site: Site, other_caller: Caller
) -> None:
    domain = site.claim()
    link = site.caller.create_link(domain=domain)
    claimed = site.caller.get("/domains").json or {}
    site.caller.delete(f"/domains/{claimed['data'][0]['id']}")
    assert Caller.post(other_caller, "/domains", {"host": domain}).status_code == 201

    visitor = site.visitor.at(domain)
    site.restart()  # whose the domain was may be remembered for some seconds
    assert visitor.follow(link).status_code == 404
    site.consume()

    assert site.groups(other_caller) == {("unknown", domain): 1}
    assert site.groups() == {}


def test_nothing_else_counts(site: Site) -> None:
    visitor = site.visitor
    protected = site.caller.create_link(password="a password")
    for path in ("/robots.txt", "/favicon.ico", "/health/live", "/api/v1/nothing", "/docs"):
        visitor.open(path)
    assert visitor.follow(protected).status_code == 403
    assert visitor.follow(site.caller.create_link()).status_code == 302
    site.consume()

    assert site.groups() == {}


def test_strict_hosts_count_the_hosts_that_they_refuse_as_one(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(STRICT_HOSTS="true")
    for number in range(3):
        refused = site.visitor.at(f"h{number}.example").open("/anything")
        assert refused.status_code == 404
    site.consume()

    assert site.groups() == {("unknown", ""): 3}


def test_visits_arrive_while_the_process_goes_on(make_site: Callable[..., Site]) -> None:
    site = make_site(SPOOL_SEGMENT_SECONDS="0.05")
    for _ in range(3):
        site.visitor.open("/no-such-slug")

    def visits() -> int:
        segments = [read_segment(path.read_bytes()) for path in site.folder.ready_segments()]
        assert not any(segment.records for segment in segments)
        return sum(orphan.visits for segment in segments for orphan in segment.orphans)

    deadline = time.monotonic() + 10
    while visits() < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert visits() == 3


def test_a_segment_that_is_delivered_again_counts_once(site: Site) -> None:
    site.visitor.open("/no-such-slug")
    site.restart()
    (path,) = site.folder.ready_segments()
    body = path.read_bytes()

    for _ in range(2):
        path.write_bytes(body)
        site.consume()

    assert site.folder.ready_segments() == []
    assert site.groups() == {("unknown", site.host): 1}


def test_rows_are_kept_by_the_slot_of_the_host_and_the_quarter(site: Site, db: Database) -> None:
    for _ in range(2):
        site.visitor.open("/no-such-slug")
        site.consume()

    with db.read(0) as session:
        rows = session.execute(text("SELECT slot, host, quarter, visits FROM orphan_visits")).all()
    # Two rows where a quarter ended in between.
    assert sum(row.visits for row in rows) == 2
    assert {(row.slot, row.host) for row in rows} == {(slot_of_host(site.host), site.host)}
    assert all(row.quarter.timestamp() % 900 == 0 for row in rows)


def test_a_moment_that_a_wrong_clock_gave_is_the_present(site: Site, db: Database) -> None:
    far = int(datetime(2600, 1, 1, tzinfo=UTC).timestamp() * 1000)
    spool = site.app.extensions["signpost"].spool
    spool.record(OrphanRecord(far, 1, site.host, 0, 2))
    spool.record(OrphanRecord(0, 1, site.host, 0, 3))
    site.consume()

    assert site.groups(interval="hour") == {("unknown", site.host): 5}
