"""Reading, changing and deleting one link."""

from __future__ import annotations

from typing import Any

import pytest

from tests.answers import problem, wrong_fields
from tests.caller import Caller


def test_link_reads_the_same_as_it_was_created(caller: Caller) -> None:
    created = caller.post("/links", {"url": "https://example.com/"})
    read = caller.get(created.headers["Location"].removeprefix("/api/v1"))
    assert read.status_code == 200
    assert read.json == created.json
    assert read.headers["ETag"] == created.headers["ETag"]


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_known_version_answers_304(caller: Caller, form: str) -> None:
    path = f"/links/{caller.create_link()['id']}"
    etag = caller.get(path).headers["ETag"]
    response = caller.get(path, headers={"If-None-Match": form.format(etag)})
    assert response.status_code == 304
    assert response.data == b""
    assert response.headers["ETag"] == etag


def test_change_makes_another_version(caller: Caller) -> None:
    path = f"/links/{caller.create_link()['id']}"
    before = caller.get(path).headers["ETag"]
    changed = caller.patch(path, {"title": "new"})
    assert changed.headers["ETag"] != before
    assert caller.get(path, headers={"If-None-Match": before}).status_code == 200
    now = {"If-None-Match": changed.headers["ETag"]}
    assert caller.get(path, headers=now).status_code == 304


@pytest.mark.parametrize(
    ("field", "value", "cleared"),
    [
        ("title", "x", None),
        ("tags", ["a"], []),
        ("starts_at", "2026-01-02T00:00:00Z", None),
        ("expires_at", "2090-01-02T00:00:00Z", None),
        ("max_clicks", 5, None),
        ("metadata", {"a": {"b": 1}}, {}),
    ],
)
def test_patch_sets_and_null_clears(caller: Caller, field: str, value: Any, cleared: Any) -> None:
    created = caller.create_link()
    path = f"/links/{created['id']}"
    moving = ("updated_at", field)
    for sent, expected in ((value, value), (None, cleared)):
        response = caller.patch(path, {field: sent})
        assert response.status_code == 200, response.text
        changed = response.json or {}
        assert changed[field] == expected
        assert changed == caller.get(path).json
        assert {k: v for k, v in changed.items() if k not in moving} == {
            k: v for k, v in created.items() if k not in moving
        }


def test_patch_sets_and_clears_a_password(caller: Caller) -> None:
    path = f"/links/{caller.create_link()['id']}"
    assert caller.patch(path, {"password": "x"}).json["has_password"] is True  # type: ignore[index]
    assert caller.patch(path, {"title": "y"}).json["has_password"] is True  # type: ignore[index]
    assert caller.patch(path, {"password": None}).json["has_password"] is False  # type: ignore[index]


def test_metadata_is_merged_member_by_member(caller: Caller) -> None:
    link = caller.create_link(metadata={"keep": 1, "drop": 2, "deep": {"a": 1, "b": 2}})
    patch = {"drop": None, "deep": {"b": None, "c": {"d": None, "e": 3}}, "new": [None]}
    changed = caller.patch(f"/links/{link['id']}", {"metadata": patch}).json or {}
    assert changed["metadata"] == {"keep": 1, "deep": {"a": 1, "c": {"e": 3}}, "new": [None]}


def test_metadata_is_bounded_with_what_was_there(caller: Caller) -> None:
    path = f"/links/{caller.create_link(metadata={'a': 'x' * 10_000})['id']}"
    too_large = {"metadata": {"b": "x" * 10_000}}
    too_many = {"metadata": {str(number): 1 for number in range(50)}}
    for patch in (too_large, too_many):
        assert wrong_fields(caller.patch(path, patch)) == ["/metadata"]
    assert caller.patch(path, {"metadata": {"a": None} | too_large["metadata"]}).status_code == 200


def test_empty_patch_changes_nothing(caller: Caller) -> None:
    link = caller.create_link()
    response = caller.patch(f"/links/{link['id']}", {})
    assert response.status_code == 200
    assert response.json == link


@pytest.mark.parametrize(
    ("patch", "wrong"),
    [
        ({"slug": "other"}, "/slug"),
        ({"domain": "sign.test"}, "/domain"),
        ({"clicks": 5}, "/clicks"),
        ({"nonsense": 1}, "/nonsense"),
        ({"url": None}, "/url"),
        ({"url": "nonsense"}, "/url"),
        ({"redirect_status": None}, "/redirect_status"),
        ({"state": "exhausted"}, "/state"),
        ({"max_clicks": 0}, "/max_clicks"),
        ({"tags": [""]}, "/tags/0"),
        ({"expires_at": "2089-12-31T23:59:59Z"}, "/expires_at"),
        ({"metadata": {"a": [[[[[]]]]]}}, "/metadata"),
    ],
)
def test_wrong_patch_is_refused_and_changes_nothing(
    caller: Caller, patch: dict[str, Any], wrong: str
) -> None:
    link = caller.create_link(starts_at="2090-01-01T00:00:00Z")
    response = caller.patch(f"/links/{link['id']}", patch | {"title": "changed"})
    assert wrong_fields(response) == [wrong]
    assert caller.get(f"/links/{link['id']}").json == link


def test_states_follow_from_the_fields(caller: Caller) -> None:
    link = caller.create_link()
    path = f"/links/{link['id']}"
    past, future = "2026-01-02T00:00:00Z", "2090-01-01T00:00:00Z"
    steps = [
        ({"starts_at": future}, "scheduled"),
        ({"starts_at": past, "expires_at": "2026-01-03T00:00:00Z"}, "expired"),
        ({"expires_at": future}, "active"),
        ({"state": "disabled"}, "disabled"),
        ({"state": "active"}, "active"),
    ]
    for patch, state in steps:
        assert caller.patch(path, patch).json["state"] == state  # type: ignore[index]
        listed = caller.get(f"/links?state={state}").json or {}
        assert [row["id"] for row in listed["data"]] == [link["id"]]


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_if_match_of_an_older_version_answers_412(caller: Caller, method: str) -> None:
    path = f"/links/{caller.create_link()['id']}"
    old = caller.get(path).headers["ETag"]
    new = caller.patch(path, {"title": "new"}).headers["ETag"]
    body = {"title": "newer"} if method == "PATCH" else None
    for refused in (old, '"nonsense"', f"W/{new}"):
        response = caller.request(method, path, json=body, headers={"If-Match": refused})
        problem(response, 412, "precondition-failed")
    assert caller.get(path).headers["ETag"] == new
    fitting = {"If-Match": f'"other", {new}'}
    assert caller.request(method, path, json=body, headers=fitting).status_code in (200, 204)


def test_if_match_of_any_version_is_met_by_what_exists(caller: Caller) -> None:
    path = f"/links/{caller.create_link()['id']}"
    assert caller.patch(path, {"title": "x"}, headers={"If-Match": "*"}).status_code == 200
    problem(caller.patch("/links/1", {"title": "x"}, headers={"If-Match": "*"}), 404)


def test_deleted_link_is_gone_everywhere_but_its_slug_stays_taken(
    caller: Caller, other_caller: Caller, slug: str
) -> None:
    link = caller.create_link(slug=slug, tags=["t"], title="findable")
    path = f"/links/{link['id']}"
    response = caller.delete(path)
    assert response.status_code == 204
    assert response.data == b""
    for again in (caller.get(path), caller.delete(path), caller.get(f"{path}/qr")):
        problem(again, 404, "not-found")
    problem(caller.patch(path, {"title": "x"}), 404, "not-found")
    for question in ("", "?tag=t", "?q=findable", "?sort=updated_at", "?state=active"):
        assert caller.get(f"/links{question}").json["data"] == []  # type: ignore[index]
    for who in (caller, other_caller):
        answer = who.post("/links", {"url": "https://example.com/", "slug": slug})
        problem(answer, 409, "slug-taken")


def test_workspace_may_let_its_own_deleted_slugs_be_used_again(
    caller: Caller, other_caller: Caller, slug: str
) -> None:
    for who in (caller, other_caller):
        workspace = f"/workspaces/{who.workspace_id}"
        assert who.patch(workspace, {"reuse_deleted_slugs": True}).status_code == 200
    first = caller.create_link(slug=slug, tags=["t"])
    new = {"url": "https://example.org/", "slug": slug}
    problem(caller.post("/links", new), 409, "slug-taken")
    caller.delete(f"/links/{first['id']}")
    problem(other_caller.post("/links", new), 409, "slug-taken")
    second = caller.create_link(**new)
    assert second["id"] != first["id"]
    assert second["tags"] == []
    problem(caller.get(f"/links/{first['id']}"), 404)
    problem(caller.post("/links", new), 409, "slug-taken")
