"""Exports of links hold what lists hold, in the order of creation."""

from __future__ import annotations

from typing import Any

import pytest

from tests.answers import wrong_fields
from tests.caller import Caller
from tests.transfers.exported import exported


def listed(caller: Caller, **query: Any) -> list[dict[str, Any]]:
    """The whole list, oldest first."""
    query = {"sort": "created_at", "limit": 200} | query
    return list(caller.get("/links", query_string=query).json["data"])


@pytest.fixture
def links(caller: Caller, other_caller: Caller) -> list[dict[str, Any]]:
    """Links that each filter takes some of."""
    host = f"é{caller.workspace_id}.example"
    assert caller.post("/domains", {"host": host}).status_code == 201
    made = [
        caller.create_link(title="a plain one"),
        caller.create_link(title="tagged", tags=["red", "green"], metadata={"a": [1e20, "ü"]}),
        caller.create_link(title="elsewhere", domain=host, tags=["red"], slug="ü-b"),
        caller.create_link(title="off", state="disabled", tags=["green"]),
        caller.create_link(title="later", starts_at="2090-01-01T00:00:00Z"),
        caller.create_link(title="over", expires_at="2026-01-02T00:00:00Z"),
        caller.create_link(title="limited", max_clicks=5, password="secret"),
        caller.create_link(title="gone", tags=["red"]),
    ]
    caller.delete(f"/links/{made.pop()['id']}")
    other_caller.create_link(title="of others", tags=["red"])
    return made


def test_export_holds_whole_links_oldest_first(caller: Caller, links: list[dict[str, Any]]) -> None:
    rows = exported(caller, "links")
    assert [row.pop("last_clicked_at") for row in rows] == [None] * len(links)
    assert rows == links == listed(caller)


def test_filters_are_those_of_the_list(caller: Caller, links: list[dict[str, Any]]) -> None:
    host = links[2]["domain"]
    for query in (
        {"tag": "red"},
        {"tag": "none"},
        {"domain": host.upper()},
        {"domain": "unknown.example"},
        *({"state": state} for state in "active disabled scheduled expired exhausted".split()),
        {"q": "a"},
        {"q": "red"},
        {"q": "!"},
        {"q": "example tag"},
        {"tag": "red", "domain": host},
        {"tag": "green", "state": "disabled", "q": "off"},
        {"domain": "sign.test", "state": "active", "q": "p"},
    ):
        rows = exported(caller, "links", fields="id,title", **query)
        assert rows == listed(caller, fields="id,title", **query), query


def test_period_is_that_of_the_list(caller: Caller, links: list[dict[str, Any]]) -> None:
    middle = links[3]["created_at"]
    for query in ({"created_after": middle}, {"created_before": middle, "tag": "red"}):
        rows = exported(caller, "links", fields="id", **query)
        assert rows == listed(caller, fields="id", **query)


def test_fields_come_alone(caller: Caller, links: list[dict[str, Any]]) -> None:
    for name in links[0]:
        rows = exported(caller, "links", fields=name)
        assert rows == [{name: link[name]} for link in links]
    assert "fields" in wrong_fields(caller.get("/exports/links?fields=id,nonsense"))
