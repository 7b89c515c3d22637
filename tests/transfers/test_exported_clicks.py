"""Exports of clicks hold what the lists of each link's clicks hold."""

from __future__ import annotations

from typing import Any

import pytest

from tests.answers import problem, wrong_fields
from tests.caller import Caller
from tests.factories.clicks import a_click, now_ms
from tests.transfers.conftest import Count
from tests.transfers.exported import exported

HOUR_MS = 3_600_000
BOT = "Googlebot/2.1 (+http://www.google.com/bot.html)"


def listed(caller: Caller, link: dict[str, Any]) -> list[dict[str, Any]]:
    """The clicks of a link as the list has them, oldest first."""
    rows = caller.get(f"/links/{link['id']}/clicks?limit=200").json["data"]
    return [row | {"link_id": link["id"]} for row in reversed(rows)]


@pytest.fixture
def links(caller: Caller, other_caller: Caller, count: Count) -> list[dict[str, Any]]:
    """Links of which the second has no clicks, and the third two months of them."""
    made = [caller.create_link(title=str(number)) for number in range(4)]
    now = now_ms()
    clicks = []
    for link, many in zip(made, (3, 0, 6, 2), strict=True):
        for number in range(many):
            at = now - number * 6 * 24 * HOUR_MS
            agent = {"user_agent": BOT} if number % 2 else {}
            who = {"workspace_id": caller.workspace_id, "at_ms": at, "query": "utm_term=%3D1%2C"}
            clicks.append(a_click(int(link["id"]), **who, **agent))
    theirs = other_caller.create_link()
    clicks.append(a_click(int(theirs["id"]), workspace_id=other_caller.workspace_id))
    count(clicks)
    return made


def test_export_holds_whole_clicks_link_by_link(
    caller: Caller, links: list[dict[str, Any]]
) -> None:
    expected = [click for link in links for click in listed(caller, link)]
    assert len(expected) == 11
    assert exported(caller, "clicks") == expected


def test_clicks_of_deleted_links_are_there_and_erased_ones_are_not(
    caller: Caller, links: list[dict[str, Any]], count: Count
) -> None:
    expected = [click for link in links[1:] for click in listed(caller, link)]
    caller.delete(f"/links/{links[2]['id']}")
    caller.delete(f"/links/{links[0]['id']}/clicks")
    assert exported(caller, "clicks") == expected
    # A click that comes after the erasure brings none of those before it back.
    later = a_click(int(links[0]["id"]), workspace_id=caller.workspace_id, at_ms=now_ms() + 9_000)
    count([later])
    assert len(exported(caller, "clicks", link=links[0]["id"])) == 1


def test_filters_leave_others_out(caller: Caller, links: list[dict[str, Any]]) -> None:
    every = exported(caller, "clicks")
    times = sorted(click["clicked_at"] for click in every)
    for query, chosen in (
        ({"link": links[2]["id"]}, lambda it: it["link_id"] == links[2]["id"]),
        ({"bots": "exclude"}, lambda it: not it["bot"]),
        ({"bots": "only"}, lambda it: it["bot"]),
        ({"from": times[3]}, lambda it: it["clicked_at"] >= times[3]),
        ({"to": times[-1], "bots": "exclude"}, lambda it: it["clicked_at"] < times[-1]),
    ):
        expected = [
            click
            for click in every
            if chosen(click) and ("bots" not in query or click["bot"] == (query["bots"] == "only"))
        ]
        assert 0 < len(expected) < len(every)
        assert exported(caller, "clicks", **query) == expected, query


def test_fields_of_the_link_come_when_they_are_asked_for(
    caller: Caller, links: list[dict[str, Any]]
) -> None:
    rows = exported(caller, "clicks", fields="slug,domain,visitor", link=links[3]["id"])
    assert {(row["slug"], row["domain"]) for row in rows} == {(links[3]["slug"], "sign.test")}
    assert set(rows[0]) == {"slug", "domain", "visitor"}


def test_strange_links_and_places_are_refused(
    caller: Caller, other_caller: Caller, links: list[dict[str, Any]]
) -> None:
    problem(other_caller.get(f"/exports/clicks?link={links[0]['id']}"), 404)
    for query in ("after=7", "after=1,2,3", "after=x,2026-03-01T09:30:00Z,1", "fields=nonsense"):
        assert wrong_fields(caller.get(f"/exports/clicks?{query}")) == [query.partition("=")[0]]
    both = caller.get("/exports/clicks?cursor=abc&after=1,2026-03-01T09:30:00Z,1")
    assert wrong_fields(both) == ["after"]
