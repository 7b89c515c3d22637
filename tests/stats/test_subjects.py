"""Statistics of a workspace by domain and by tag, from the click to the answer."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from api.clicks.enrichment.enricher import Enricher
from api.clicks.ingest import Counting, Ingest
from api.core.database.routing import Database
from api.links.service import add_clicks, find_places
from api.stats.service import StatsService
from tests.answers import wrong_fields
from tests.caller import Caller
from tests.factories.clicks import a_click, a_segment


@pytest.fixture(scope="module")
def enricher() -> Enricher:
    return Enricher(b"a secret of the installation")


@pytest.fixture
def ingest(db: Database, enricher: Enricher) -> Ingest:
    counting = Counting(
        find_places=find_places,
        fold=StatsService.fold,
        add_counts=StatsService.add,
        add_totals=add_clicks,
    )
    return Ingest(db, enricher, counting)


def visit(ingest: Ingest, caller: Caller, *links: dict[str, Any]) -> None:
    """Click each of the links once."""
    clicks = [a_click(int(link["id"]), workspace_id=caller.workspace_id) for link in links]
    outcome = ingest.ingest([a_segment(clicks)])
    assert outcome.clicks == len(links)


def clicks_of(caller: Caller, **query: str) -> int:
    response = caller.get("/stats", query_string={"interval": "hour"} | query)
    assert response.status_code == 200, response.text
    assert (
        sum(bucket["clicks"] for bucket in response.json["series"])
        == (response.json["total"]["clicks"])
    )
    return int(response.json["total"]["clicks"])


def test_a_tag_counts_the_clicks_of_its_links(
    caller: Caller, other_caller: Caller, ingest: Ingest
) -> None:
    both, one, none = (caller.create_link(tags=tags) for tags in (["a", "b"], ["a"], []))
    visit(ingest, caller, both, both, one, none)
    assert clicks_of(caller, tag="a") == 3
    assert clicks_of(caller, tag="b") == 2
    assert clicks_of(caller, tag="c") == 0
    assert clicks_of(other_caller, tag="a") == 0
    assert clicks_of(caller) == 4


def test_a_click_counts_under_the_tags_of_its_moment(caller: Caller, ingest: Ingest) -> None:
    link = caller.create_link(tags=["old"])
    visit(ingest, caller, link)
    assert caller.patch(f"/links/{link['id']}", {"tags": ["new"]}).status_code == 200
    fresh = Ingest(ingest._db, ingest._enricher, ingest._counting)  # which has not seen the link
    visit(fresh, caller, link)
    assert (clicks_of(caller, tag="old"), clicks_of(caller, tag="new")) == (1, 1)


def test_a_domain_counts_the_clicks_of_its_links(caller: Caller, ingest: Ingest) -> None:
    host = f"{uuid.uuid4().hex[:12]}.example"
    assert caller.post("/domains", {"host": host}).status_code == 201
    here, there = caller.create_link(domain=host), caller.create_link()
    visit(ingest, caller, here, here, there)
    assert clicks_of(caller, domain=host) == 2
    assert clicks_of(caller, domain=there["domain"]) == 1
    groups = caller.get("/stats", query_string={"domain": host, "group_by": "browser"}).json
    assert groups["groups"] == [{"value": "Chrome", "clicks": 2, "visitors": 1}]


def test_domain_and_tag_together_are_refused(caller: Caller) -> None:
    response = caller.get("/stats", query_string={"domain": "a.example", "tag": "a"})
    assert response.status_code == 422
    assert wrong_fields(response) == ["tag"]


def test_a_link_has_neither(caller: Caller) -> None:
    link = caller.create_link()
    response = caller.get(f"/links/{link['id']}/stats", query_string={"tag": "a"})
    assert wrong_fields(response) == ["tag"]
