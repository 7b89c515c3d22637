from __future__ import annotations

from typing import Any

import pytest

from api.clicks.ingest import Ingest
from tests.caller import Caller
from tests.factories.clicks import a_click, a_segment, now_ms


def _visit(ingest: Ingest, caller: Caller, link: dict[str, Any], times: int, **changes: Any) -> int:
    start = now_ms() - 60_000
    clicks = [
        a_click(
            int(link["id"]),
            workspace_id=caller.workspace_id,
            at_ms=start + number * 1000,
            **changes,
        )
        for number in range(times)
    ]
    ingest.ingest([a_segment(clicks)])
    return start


@pytest.fixture
def link(caller: Caller) -> dict[str, Any]:
    return caller.create_link()


def test_a_click_is_shown_with_all_it_tells(
    caller: Caller, ingest: Ingest, link: dict[str, Any]
) -> None:
    _visit(ingest, caller, link, 1, query="utm_source=mail&utm_campaign=spring")

    response = caller.get(f"/links/{link['id']}/clicks")

    assert response.status_code == 200
    assert response.json is not None
    (click,) = response.json["data"]
    assert click.pop("id").isdigit()
    assert len(click.pop("visitor")) == 16
    assert click.pop("clicked_at").endswith("Z")
    assert click == {
        "bot": False,
        "country": "US",
        "referrer": "example.org",
        "browser": "Chrome",
        "system": "Windows",
        "device": "desktop",
        "language": "de",
        "utm_source": "mail",
        "utm_medium": None,
        "utm_campaign": "spring",
        "utm_term": None,
        "utm_content": None,
        "address": None,
    }
    assert response.json["next_cursor"] is None


def test_pages_go_from_new_to_old_and_meet(
    caller: Caller, ingest: Ingest, link: dict[str, Any]
) -> None:
    _visit(ingest, caller, link, 7)
    seen: list[str] = []
    path = f"/links/{link['id']}/clicks?limit=3"
    cursor = ""

    while cursor is not None:
        response = caller.get(path + (f"&cursor={cursor}" if cursor else ""))
        assert response.json is not None
        seen += [click["clicked_at"] for click in response.json["data"]]
        cursor = response.json["next_cursor"]
        assert ("Link" in response.headers) == (cursor is not None)

    assert len(set(seen)) == 7
    assert seen == sorted(seen, reverse=True)


def test_a_page_stays_in_place_while_clicks_arrive(
    caller: Caller, ingest: Ingest, link: dict[str, Any]
) -> None:
    _visit(ingest, caller, link, 4)
    path = f"/links/{link['id']}/clicks?limit=2"
    first = caller.get(path).json or {}
    _visit(ingest, caller, link, 1, address="9.9.9.9")

    second = caller.get(f"{path}&cursor={first['next_cursor']}").json or {}

    assert not {click["id"] for click in first["data"]} & {click["id"] for click in second["data"]}
    assert first["data"][-1]["clicked_at"] > second["data"][0]["clicked_at"]


def test_without_credential_is_refused(caller: Caller, link: dict[str, Any]) -> None:
    response = caller.app.test_client().get(f"/api/v1/links/{link['id']}/clicks")

    assert response.status_code == 401


def test_without_scope_is_refused(caller: Caller, link: dict[str, Any]) -> None:
    response = caller.without("stats:read").get(f"/links/{link['id']}/clicks")

    assert response.status_code == 403


def test_another_workspaces_link_is_not_found(other_caller: Caller, link: dict[str, Any]) -> None:
    assert other_caller.get(f"/links/{link['id']}/clicks").status_code == 404


def test_a_cursor_of_another_link_is_refused(
    caller: Caller, ingest: Ingest, link: dict[str, Any]
) -> None:
    _visit(ingest, caller, link, 2)
    other = caller.create_link("https://example.org/")
    page = caller.get(f"/links/{link['id']}/clicks?limit=1").json or {}

    response = caller.get(f"/links/{other['id']}/clicks?cursor={page['next_cursor']}")

    assert response.status_code == 400


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "unknown=1", "cursor="])
def test_wrong_parameters_are_refused(caller: Caller, link: dict[str, Any], query: str) -> None:
    assert caller.get(f"/links/{link['id']}/clicks?{query}").status_code == 422
