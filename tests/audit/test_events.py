"""The audit log: each change is told once, to those who may know, with who and from where."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from config.settings import Settings
from tests.answers import problem, wrong_fields
from tests.caller import BASE, Caller


def events(caller: Caller, **query: Any) -> list[dict[str, Any]]:
    """A page of events, the newest first."""
    response = caller.get("/audit-events", query_string=query)
    assert response.status_code == 200, response.text
    return list((response.json or {})["data"])


def actions(caller: Caller, **query: Any) -> list[str]:
    return [event["action"] for event in events(caller, **query)]


def test_change_is_told_with_who_what_and_from_where(caller: Caller) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    made = caller.post(
        "/links",
        {"url": "https://example.com/"},
        headers={"X-Request-ID": "a-request-of-mine"},
        environ_base={"REMOTE_ADDR": "203.0.113.7"},
    )
    (event,) = events(caller)
    assert before < datetime.fromisoformat(event.pop("at")) < datetime.now(UTC)
    assert event.pop("id").isdigit()
    (key,) = (caller.get("/api-keys").json or {})["data"]
    assert event == {
        "action": "link.create",
        "actor": {"kind": "key", "id": key["id"], "name": "Test key"},
        "via": None,
        "target": {"kind": "link", "id": (made.json or {})["id"]},
        "address": "203.0.113.7",
        "request_id": "a-request-of-mine",
        "details": {},
    }


def test_what_a_users_key_does_is_the_users(caller: Caller) -> None:
    editor = caller.with_role("editor", "ed@audit.example")
    editor.create_link()
    event = events(caller, action="link.create")[0]
    assert event["actor"] == {"kind": "user", "id": str(editor.user_id), "name": "ed@audit.example"}
    assert event["via"]["kind"] == "key"
    assert event["via"]["id"] in {key["id"] for key in (caller.get("/api-keys").json or {})["data"]}


def test_each_kind_of_change_is_told(caller: Caller) -> None:
    link = caller.create_link(slug="audited-slug")["id"]
    caller.patch(f"/links/{link}", {"title": "New", "tags": []})
    caller.delete(f"/links/{link}/clicks")
    caller.delete(f"/links/{link}")
    key = (caller.post("/api-keys", {"name": "CI", "scopes": ["links:read"]}).json or {})["id"]
    caller.delete(f"/api-keys/{key}")
    domain = (caller.post("/domains", {"host": "audited.example"}).json or {})["id"]
    caller.delete(f"/domains/{domain}")
    caller.patch(f"/workspaces/{caller.workspace_id}", {"name": "Renamed"})
    told = [(it["action"], it["target"], it["details"]) for it in reversed(events(caller))]
    assert told == [
        ("link.create", {"kind": "link", "id": link}, {}),
        ("link.update", {"kind": "link", "id": link}, {"fields": ["tags", "title"]}),
        ("clicks.erase", {"kind": "link", "id": link}, {}),
        ("link.delete", {"kind": "link", "id": link}, {}),
        ("key.create", {"kind": "key", "id": key}, {"name": "CI", "scopes": ["links:read"]}),
        ("key.revoke", {"kind": "key", "id": key}, {}),
        ("domain.claim", {"kind": "domain", "id": domain}, {"host": "audited.example"}),
        ("domain.release", {"kind": "domain", "id": domain}, {}),
        (
            "workspace.update",
            {"kind": "workspace", "id": str(caller.workspace_id)},
            {"fields": ["name"]},
        ),
    ]


def test_each_link_of_a_batch_is_told(caller: Caller) -> None:
    link = caller.create_link()["id"]
    url = {"url": "https://example.com/"}
    operations = [
        {"op": "create", "link": url},
        {"op": "create", "link": {"url": "no address"}},
        {"op": "update", "id": link, "link": {"title": "New"}},
        {"op": "delete", "id": link},
        {"op": "delete", "id": link},
        {"op": "nonsense"},
    ]
    results = (caller.post("/links/batch", {"operations": operations}).json or {})["results"]
    assert [result["status"] for result in results] == [201, 422, 200, 204, 404, 422]
    told = events(caller, limit=3)
    assert [(it["action"], it["target"]["id"]) for it in reversed(told)] == [
        ("link.create", results[0]["link"]["id"]),
        ("link.update", link),
        ("link.delete", link),
    ]
    assert len({it["request_id"] for it in told}) == 1
    assert actions(caller) == ["link.delete", "link.update", "link.create", "link.create"]
    caller.post("/links/batch", {"operations": [{"op": "delete", "id": link}]})
    assert len(events(caller)) == 4


def test_what_changed_nothing_is_not_told(caller: Caller, other_caller: Caller) -> None:
    link = caller.create_link(slug="once-only")["id"]
    key = {"Idempotency-Key": "the same"}
    for _ in range(2):
        caller.post("/links", {"url": "https://example.com/b"}, headers=key)
    caller.post("/links?find_existing=true", {"url": "https://example.com/"})
    caller.post("/links", {"url": "https://example.com/", "slug": "once-only"})
    caller.patch(f"/links/{link}", {"title": "x"}, headers={"If-Match": '"99"'})
    caller.without("links:write").delete(f"/links/{link}")
    other_caller.delete(f"/links/{link}")
    caller.get(f"/links/{link}")
    assert actions(caller) == ["link.create", "link.create"]
    assert events(other_caller) == []


def test_no_secret_is_told(caller: Caller) -> None:
    link = caller.create_link(password="correct horse")["id"]
    caller.patch(f"/links/{link}", {"password": "battery staple"})
    key = (caller.post("/api-keys", {"name": "CI"}).json or {})["key"]
    invited = {"email": "new@secrets.example", "role": "viewer"}
    token = (caller.post("/invitations", invited).json or {})["token"]
    told = caller.get("/audit-events").text
    for secret in ("correct horse", "battery staple", key, key[8:], token, token[10:]):
        assert secret not in told
    assert "new@secrets.example" in told


def test_list_can_be_narrowed(caller: Caller) -> None:
    editor = caller.with_role("editor")
    first, second = caller.create_link()["id"], editor.create_link()["id"]
    time.sleep(0.01)
    middle = datetime.now(UTC).isoformat()
    time.sleep(0.01)
    editor.patch(f"/links/{first}", {"title": "x"})

    def found(**query: Any) -> list[tuple[str, str]]:
        return [(it["action"], it["target"]["id"]) for it in events(caller, **query)]

    update, create_second = ("link.update", first), ("link.create", second)
    assert found(target=f"link:{first}") == [update, ("link.create", first)]
    assert found(actor=f"user:{editor.user_id}") == [update, create_second]
    assert found(action="link.update") == [update]
    assert found(after=middle) == [update]
    assert found(before=middle) == [create_second, ("link.create", first)]
    assert found(actor=f"user:{editor.user_id}", before=middle) == [create_second]
    assert found(target="link:1") == found(actor="key:1") == found(action="link.delete") == []


def test_pages_hold_each_event_once(caller: Caller) -> None:
    links = [caller.create_link()["id"] for _ in range(5)]
    met: list[str] = []
    query: dict[str, Any] = {"limit": 2, "action": "link.create"}
    while True:
        answer = caller.get("/audit-events", query_string=query).json or {}
        met += [event["target"]["id"] for event in answer["data"]]
        if answer["next_cursor"] is None:
            break
        query["cursor"] = answer["next_cursor"]
    assert met == links[::-1]
    other = {"cursor": query["cursor"], "limit": 2}
    problem(caller.get("/audit-events", query_string=other), 400, "invalid-cursor")


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ({"actor": "ann"}, "actor"),
        ({"actor": "user:"}, "actor"),
        ({"target": "link:1 2"}, "target"),
        ({"action": "create"}, "action"),
        ({"after": "yesterday"}, "after"),
        ({"limit": "201"}, "limit"),
        ({"who": "me"}, "who"),
    ],
)
def test_wrong_parameter_is_named(caller: Caller, query: dict[str, str], wrong: str) -> None:
    assert wrong_fields(caller.get("/audit-events", query_string=query)) == [wrong]


def test_log_is_for_administrators_of_the_workspace(
    client: FlaskClient, caller: Caller, other_caller: Caller
) -> None:
    caller.create_link()
    problem(client.get(f"{BASE}/audit-events"), 401)
    for poor in (caller.with_role("editor"), caller.with_role("viewer")):
        problem(poor.get("/audit-events"), 403, "insufficient-scope")
    assert actions(caller.with_role("owner")) == ["link.create"]
    assert events(other_caller) == []


def test_address_is_told_by_trusted_proxies_only(
    environ: dict[str, str], caller: Caller, settings: Settings
) -> None:
    forwarded = {"X-Forwarded-For": "198.51.100.9"}
    caller.post("/links", {"url": "https://example.com/"}, headers=forwarded)
    assert events(caller)[0]["address"] == "127.0.0.1"
    behind = create_app(Settings.load(environ | {"TRUSTED_PROXIES": "127.0.0.0/8"}))
    proxied = Caller(behind, caller.identity, caller.workspace_id, caller.key)
    proxied.post("/links", {"url": "https://example.com/"}, headers=forwarded)
    assert events(caller)[0]["address"] == "198.51.100.9"
