"""Batches of which everything is done, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.answers import wrong_fields
from tests.caller import Caller

URL = "https://example.com/"


def create(**fields: Any) -> dict[str, Any]:
    return {"op": "create", "link": {"url": URL} | fields}


def perform(caller: Caller, *operations: Any, status: int = 200, **headers: str) -> dict[str, Any]:
    body = {"operations": operations, "atomic": True}
    response = caller.post("/links/batch", body, headers=headers)
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json or {}
    return answer


def statuses(answer: dict[str, Any]) -> list[int]:
    assert [each.get("problem", each)["status"] for each in answer["results"]] == [
        each["status"] for each in answer["results"]
    ]
    return [each["status"] for each in answer["results"]]


def test_all_is_done_where_all_goes_well(caller: Caller, app: Flask, slug: str) -> None:
    old, gone = caller.create_link(title="old"), caller.create_link(slug=f"{slug}-gone")
    visitor = app.test_client()
    assert visitor.get(f"/{gone['slug']}").status_code == 302
    assert visitor.get(f"/{slug}").status_code == 404
    answer = perform(
        caller,
        create(tags=["a"]),
        create(slug=slug),
        {"op": "update", "id": old["id"], "link": {"title": "new"}},
        {"op": "delete", "id": gone["id"]},
        {"op": "update", "id": old["id"], "link": {"tags": ["b"]}},
    )
    assert statuses(answer) == [201, 201, 200, 204, 200]
    made = answer["results"][0]["link"]
    assert caller.get(f"/links/{made['id']}").json == made
    changed = answer["results"][4]["link"]
    assert (changed["title"], changed["tags"]) == ("new", ["b"])
    # Who had asked before learns of it at once.
    assert visitor.get(f"/{gone['slug']}").status_code == 410
    assert visitor.get(f"/{slug}").status_code == 302


def test_nothing_is_done_where_one_fails(
    caller: Caller, other_caller: Caller, app: Flask, slug: str
) -> None:
    taken, old = other_caller.create_link(slug=slug), caller.create_link(title="old")
    answer = perform(
        caller,
        create(slug=f"{slug}-new"),
        {"op": "update", "id": old["id"], "link": {"title": "new", "tags": ["new"]}},
        {"op": "delete", "id": old["id"]},
        create(slug=taken["slug"]),
        create(),
        status=422,
    )
    assert answer["type"] == "urn:signpost:problem:batch-undone"
    assert statuses(answer) == [424, 424, 424, 409, 424]
    assert answer["results"][3]["problem"]["type"] == "urn:signpost:problem:slug-taken"
    assert [error["pointer"] for error in answer["errors"]] == ["/operations/3"]
    assert caller.get(f"/links/{old['id']}").json == old
    assert caller.get("/links").json["data"] == [old]  # type: ignore[index]
    visitor = app.test_client()
    assert visitor.get(f"/{slug}-new").status_code == 404
    assert visitor.get(f"/{old['slug']}").status_code == 302
    # A slug of what was undone is as free as before.
    assert caller.create_link(slug=f"{slug}-new")


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ({"op": "explode"}, 422),
        ({"op": "create", "link": {"url": "nonsense"}}, 422),
        ({"op": "update", "id": "5", "link": {"title": "x"}}, 404),
        ({"op": "delete", "id": "5"}, 404),
    ],
)
def test_the_operation_that_failed_says_why(
    caller: Caller, operation: dict[str, Any], status: int
) -> None:
    answer = perform(caller, create(), operation, create(), status=422)
    assert statuses(answer) == [424, status, 424]
    assert [error["pointer"] for error in answer["errors"]] == ["/operations/1"]
    assert caller.get("/links").json["data"] == []  # type: ignore[index]


def test_deleted_slug_is_used_again_within_the_batch_or_not_at_all(
    caller: Caller, slug: str
) -> None:
    old = caller.create_link(slug=slug)
    caller.patch(f"/workspaces/{caller.workspace_id}", {"reuse_deleted_slugs": True})
    delete = {"op": "delete", "id": old["id"]}
    assert statuses(perform(caller, delete, create(slug=slug), delete, status=422))[2] == 404
    assert caller.get(f"/links/{old['id']}").json == old
    assert statuses(perform(caller, delete, create(slug=slug))) == [204, 201]


def test_no_event_tells_of_what_was_undone(caller: Caller) -> None:
    perform(caller, create(), {"op": "delete", "id": "5"}, status=422)
    perform(caller, create())
    events = caller.get("/audit-events?action=link.create").json["data"]  # type: ignore[index]
    assert len(events) == 1


def test_key_of_what_was_undone_may_be_used_again(caller: Caller, slug: str) -> None:
    held = caller.create_link(slug=slug)
    key = {"Idempotency-Key": slug}
    perform(caller, create(), create(slug=slug), status=422, **key)
    caller.patch(f"/workspaces/{caller.workspace_id}", {"reuse_deleted_slugs": True})
    caller.delete(f"/links/{held['id']}")
    first = perform(caller, create(), create(slug=slug), **key)
    assert perform(caller, create(), create(slug=slug), **key) == first
    assert len(caller.get("/links").json["data"]) == 2  # type: ignore[index]


def test_atomic_is_a_boolean(caller: Caller) -> None:
    body = {"operations": [create()], "atomic": "yes"}
    assert wrong_fields(caller.post("/links/batch", body)) == ["/atomic"]
