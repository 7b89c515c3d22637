"""The list of links: what it holds and in which order."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.answers import wrong_fields
from tests.caller import Caller


def listed(caller: Caller, **query: Any) -> list[dict[str, Any]]:
    response = caller.get("/links", query_string=query)
    assert response.status_code == 200, response.text
    return list((response.json or {})["data"])


def titles(caller: Caller, **query: Any) -> list[str]:
    return [row["title"] for row in listed(caller, fields="title", **query)]


def test_list_holds_whole_links_newest_first(caller: Caller, other_caller: Caller) -> None:
    links = [caller.create_link(title=str(number)) for number in range(3)]
    other_caller.create_link()
    response = caller.get("/links")
    assert response.json == {"data": links[::-1], "next_cursor": None}
    assert "Link" not in response.headers


def test_both_sorts_go_both_ways(caller: Caller) -> None:
    links = [caller.create_link(title=title) for title in "abc"]
    caller.patch(f"/links/{links[0]['id']}", {"forward_query": True})
    assert titles(caller, sort="created_at") == ["a", "b", "c"]
    assert titles(caller, sort="-created_at") == ["c", "b", "a"]
    assert titles(caller, sort="updated_at") == ["b", "c", "a"]
    assert titles(caller, sort="-updated_at") == ["a", "c", "b"]


def test_tag_must_be_one_of_the_links(caller: Caller, other_caller: Caller) -> None:
    link = caller.create_link(title="a", tags=["red", "green"])
    caller.create_link(title="b", tags=["green"])
    other_caller.create_link(title="c", tags=["red"])
    assert titles(caller, tag="red") == ["a"]
    assert titles(caller, tag="green") == ["b", "a"]
    assert titles(caller, tag="re") == []
    caller.patch(f"/links/{link['id']}", {"tags": ["blue"]})
    assert titles(caller, tag="red") == []
    assert titles(caller, tag="blue") == ["a"]


def test_domain_is_found_in_any_spelling(caller: Caller) -> None:
    assert caller.post("/domains", {"host": "listé.example"}).status_code == 201
    caller.create_link(title="a", domain="LISTÉ.example")
    caller.create_link(title="b")
    assert titles(caller, domain="listé.example") == ["a"]
    assert titles(caller, domain="xn--list-epa.EXAMPLE.") == ["a"]
    assert titles(caller, domain="SIGN.test") == ["b"]
    assert titles(caller, domain="unknown.example") == []
    assert titles(caller, domain="no host at all") == []


def test_created_after_includes_and_created_before_excludes_the_moment(caller: Caller) -> None:
    made = datetime.fromisoformat(caller.create_link(title="a")["created_at"])
    later, earlier = made + timedelta(microseconds=1), made - timedelta(microseconds=1)
    for moment, is_after, is_before in (
        (earlier, True, False),
        (made, True, False),
        (later, False, True),
    ):
        assert titles(caller, created_after=moment.isoformat()) == ["a"] * is_after
        assert titles(caller, created_before=moment.isoformat()) == ["a"] * is_before
    everything = {"created_after": "0001-01-01T00:00:00Z", "created_before": "9999-12-31T23:59:59Z"}
    assert titles(caller, **everything) == ["a"]


def test_every_state_can_be_asked_for(caller: Caller, app: Any) -> None:
    caller.create_link(title="active")
    caller.create_link(title="disabled", state="disabled", expires_at="2026-01-02T00:00:00Z")
    caller.create_link(title="scheduled", starts_at="2090-01-01T00:00:00Z")
    caller.create_link(title="expired", expires_at="2026-01-02T00:00:00Z", max_clicks=1)
    used = caller.create_link(title="exhausted", max_clicks=1)
    assert app.test_client().get(f"/{used['slug']}").status_code == 302
    for state in ("active", "disabled", "scheduled", "expired", "exhausted"):
        assert titles(caller, state=state) == [state]
        assert listed(caller, state=state)[0]["state"] == state


def test_filters_are_joined(caller: Caller) -> None:
    caller.create_link("https://example.com/shoes", title="a", tags=["x"])
    caller.create_link("https://example.com/shoes", title="b", tags=["y"])
    caller.create_link("https://example.com/socks", title="c", tags=["x"])
    assert titles(caller, q="shoes", tag="x", state="active", domain="sign.test") == ["a"]


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("spring", True),
        ("SPR", True),
        ("sale spring", True),
        ("shop.example", True),
        ("shop.example/shoes?id=42", True),
        ("shoes 42", True),
        ("xn--mnchen", True),
        ("münch", True),
        ("MÜNCH", True),
        ("m\u0075\u0308nchen", True),
        ("हिन्दी", True),
        ("हिन", True),
        ("日本", True),
        ("b o'neil", True),
        ("<b>", True),
        ("pring", False),
        ("spring autumn", False),
        ("workspace", False),
        ("w", False),
        ("'", False),
        ("& | ! ( ) : * \\", False),
        ("€", False),
        ("😀", False),
    ],
)
def test_search_finds_links_by_the_beginnings_of_words(
    caller: Caller, other_caller: Caller, q: str, found: bool
) -> None:
    for who in (caller, other_caller):
        who.create_link(
            "https://shop.example/shoes?id=42&ref=xn--mnchen-3ya",
            title="Spring Sale: <b>München</b> O'Neil हिन्दी 日本語",
            slug=f"0{uuid.uuid4().hex}",  # not one that begins with what is looked for
        )
    assert len(listed(caller, q=q)) == found


def test_search_does_not_reach_into_other_workspaces(caller: Caller, other_caller: Caller) -> None:
    caller.create_link(title="treasure")
    for q in ("treasure", f"treasure /{caller.workspace_id}", str(caller.workspace_id)):
        assert listed(other_caller, q=q) == []


def test_search_finds_slugs(caller: Caller, slug: str) -> None:
    link = caller.create_link(slug=slug)
    assert [row["id"] for row in listed(caller, q=slug)] == [link["id"]]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ("id", ["id"]),
        ("clicks,id", ["id", "clicks"]),
        ("state,metadata,has_password", ["state", "has_password", "metadata"]),
        ("short_url,short_url", ["short_url"]),
        ("created_at,tags", ["tags", "created_at"]),
    ],
)
def test_only_the_wanted_fields_are_shown(caller: Caller, fields: str, shown: list[str]) -> None:
    whole = caller.create_link(tags=["a"], metadata={"a": 1})
    (row,) = listed(caller, fields=fields)
    assert list(row) == shown
    assert row == {name: whole[name] for name in shown}


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=1&limit=2", "limit"),
        ("q=", "q"),
        ("q=" + "x" * 201, "q"),
        ("q=%00", "q"),
        ("tag=", "tag"),
        ("tag=" + "x" * 51, "tag"),
        ("domain=", "domain"),
        ("state=gone", "state"),
        ("sort=clicks", "sort"),
        ("created_after=2026-01-01", "created_after"),
        ("created_before=soon", "created_before"),
        ("fields=", "fields"),
        ("fields=id,password_hash", "fields"),
        ("cursor=", "cursor"),
        ("offset=5", "offset"),
        ("value=5", "value"),
    ],
)
def test_wrong_parameter_is_named(caller: Caller, query: str, wrong: str) -> None:
    assert wrong_fields(caller.get(f"/links?{query}")) == [wrong]


@pytest.mark.parametrize("query", ["q=%ff", "q=%", "tag=%ff%fe", "domain=%ff", "q=%F0%9F"])
def test_bytes_that_are_no_text_find_nothing(caller: Caller, query: str) -> None:
    caller.create_link()
    assert caller.get(f"/links?{query}").json == {"data": [], "next_cursor": None}
