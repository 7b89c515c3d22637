"""`find_existing`: a link that already is what is asked for is answered instead of a new one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.answers import problem, wrong_fields
from tests.caller import Caller

URL = "https://example.com/found?a=1"
PATH = "/links?find_existing=true"


def test_existing_link_is_answered_with_200(caller: Caller) -> None:
    link = caller.create_link(URL, title="x", tags=["a"])
    for body in ({"url": URL}, {"url": " HTTPS://EXAMPLE.com/found?a=1", "tags": ["a"]}):
        response = caller.post(PATH, body)
        assert response.status_code == 200
        assert response.json == link
        assert response.headers["Location"].endswith(link["id"])
        assert response.headers["ETag"]


def test_the_oldest_of_several_is_answered(caller: Caller) -> None:
    oldest, _ = caller.create_link(URL), caller.create_link(URL)
    assert caller.post(PATH, {"url": URL}).json == oldest


def test_nothing_found_creates(caller: Caller) -> None:
    assert caller.post(PATH, {"url": URL}).status_code == 201
    assert caller.post("/links?find_existing=false", {"url": URL}).status_code == 201


@pytest.mark.parametrize(
    "asked",
    [
        {"url": URL + "&b=2"},
        {"title": "other"},
        {"tags": ["other"]},
        {"slug": "found-other"},
        {"expires_at": "2090-01-01T00:00:00Z"},
        {"max_clicks": 5},
        {"redirect_status": 301},
        {"forward_query": True},
        {"metadata": {"a": 1}},
        {"password": "x"},
        {"state": "disabled"},
    ],
)
def test_link_that_differs_in_what_is_asked_is_not_answered(
    caller: Caller, asked: dict[str, Any]
) -> None:
    caller.create_link(URL)
    assert caller.post(PATH, {"url": URL} | asked).status_code == 201


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "x"},
        {"state": "disabled"},
        {"starts_at": "2090-01-01T00:00:00Z"},
        {"expires_at": "2026-01-02T00:00:00Z"},
    ],
)
def test_link_that_does_not_simply_redirect_is_not_answered(
    caller: Caller, fields: dict[str, Any]
) -> None:
    caller.create_link(URL, **fields)
    assert caller.post(PATH, {"url": URL}).status_code == 201


def test_deleted_link_is_not_answered(caller: Caller) -> None:
    caller.delete(f"/links/{caller.create_link(URL)['id']}")
    assert caller.post(PATH, {"url": URL}).status_code == 201


def test_link_of_another_workspace_is_not_answered(caller: Caller, other_caller: Caller) -> None:
    caller.create_link(URL)
    assert other_caller.post(PATH, {"url": URL}).status_code == 201


def test_wrong_requests_are_refused_all_the_same(caller: Caller) -> None:
    assert wrong_fields(caller.post("/links?find_existing=maybe", {"url": URL})) == [
        "find_existing"
    ]
    assert wrong_fields(caller.post(PATH, {"url": "nonsense"})) == ["/url"]
    problem(caller.without("links:write").post(PATH, {"url": URL}), 403)
