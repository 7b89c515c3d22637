"""Pages of a list: a walk loses and repeats nothing while links come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.answers import problem
from tests.caller import Caller

SORTS = ("created_at", "-created_at", "updated_at", "-updated_at")


def make_links(caller: Caller, number: int, **fields: Any) -> list[str]:
    link = {"url": "https://example.com/"} | fields
    body = {"operations": [{"op": "create", "link": link}] * number}
    results = (caller.post("/links/batch", body).json or {})["results"]
    return [result["link"]["id"] for result in results]


def pages(
    caller: Caller, between: Callable[[], object] = lambda: None, **query: Any
) -> Iterator[list[str]]:
    """The ids of each page, read one after another."""
    cursor: str | None = None
    while True:
        given = query | ({"cursor": cursor} if cursor else {})
        answer = caller.get("/links", query_string=given | {"fields": "id"}).json or {}
        yield [row["id"] for row in answer["data"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            return
        between()


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("query", [{}, {"tag": "t"}, {"q": "example"}, {"state": "active"}])
def test_walk_meets_every_link_once(caller: Caller, sort: str, query: dict[str, str]) -> None:
    identifiers = make_links(caller, 23, tags=["t"])
    walked = list(pages(caller, sort=sort, limit=5, **query))
    assert [len(page) for page in walked] == [5, 5, 5, 5, 3]
    met = [identifier for page in walked for identifier in page]
    assert sorted(met) == sorted(identifiers)
    whole = caller.get("/links", query_string={"sort": sort, "fields": "id"}).json or {}
    assert met == [row["id"] for row in whole["data"]]


@pytest.mark.parametrize("sort", SORTS)
def test_walk_is_stable_while_links_come_and_go(caller: Caller, sort: str) -> None:
    identifiers = make_links(caller, 20)
    doomed = set(identifiers[::3])
    waiting = sorted(doomed)

    def disturb() -> None:
        make_links(caller, 2)
        caller.delete(f"/links/{waiting.pop()}")

    met = [row for page in pages(caller, disturb, sort=sort, limit=4) for row in page]
    assert len(met) == len(set(met))
    assert set(met) >= set(identifiers) - doomed


def test_last_page_has_no_cursor(caller: Caller) -> None:
    make_links(caller, 4)
    assert [len(page) for page in pages(caller, limit=2)] == [2, 2]
    assert caller.get("/links?limit=4").json["next_cursor"] is None  # type: ignore[index]


def test_link_header_leads_to_the_next_page(caller: Caller) -> None:
    make_links(caller, 3, tags=["a&b é"])
    response = caller.get("/links", query_string={"limit": 1, "tag": "a&b é", "fields": "id"})
    address, _, relation = response.headers["Link"].partition("; ")
    assert relation == 'rel="next"'
    query = parse_qs(urlsplit(address.strip("<>")).query)
    assert query == {
        "limit": ["1"],
        "tag": ["a&b é"],
        "fields": ["id"],
        "cursor": [response.json["next_cursor"]],  # type: ignore[index]
    }
    next_page = caller.get(address.strip("<>").removeprefix("/api/v1"))
    assert next_page.status_code == 200
    assert next_page.json["data"] != response.json["data"]  # type: ignore[index]


def cursor_of(caller: Caller, **query: Any) -> str:
    answer = caller.get("/links", query_string={"limit": 1} | query).json or {}
    return str(answer["next_cursor"])


def test_altered_cursor_answers_400(caller: Caller) -> None:
    make_links(caller, 2)
    cursor = cursor_of(caller)
    altered = [cursor[:-1], cursor + "A", "A" + cursor, cursor.replace(".", "", 1), cursor[::-1]]
    for wrong in [*altered, "x", ".", "é", "=" * 900, "\ufffd"]:
        problem(caller.get("/links", query_string={"cursor": wrong}), 400, "invalid-cursor")


@pytest.mark.parametrize(
    "other",
    [{"sort": "created_at"}, {"sort": "updated_at"}, {"tag": "t"}, {"q": "x"}, {"state": "active"}],
)
def test_cursor_continues_only_its_own_list(caller: Caller, other: dict[str, str]) -> None:
    make_links(caller, 2, tags=["t"])
    query = {"cursor": cursor_of(caller)} | other
    problem(caller.get("/links", query_string=query), 400, "invalid-cursor")


def test_cursor_of_another_workspace_or_kind_answers_400(
    caller: Caller, other_caller: Caller
) -> None:
    make_links(caller, 2)
    cursor = cursor_of(caller)
    query = {"cursor": cursor}
    problem(other_caller.get("/links", query_string=query), 400, "invalid-cursor")
    problem(caller.get("/api-keys", query_string=query), 400, "invalid-cursor")


def test_page_size_and_fields_may_change_during_a_walk(caller: Caller) -> None:
    identifiers = make_links(caller, 4)[::-1]
    query = {"cursor": cursor_of(caller, fields="url"), "limit": 200}
    answer = caller.get("/links", query_string=query).json or {}
    assert sorted(row["id"] for row in answer["data"]) == sorted(identifiers)[:-1]
