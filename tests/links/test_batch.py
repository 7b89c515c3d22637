"""Many operations in one request, each with a result of its own."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.answers import wrong_fields
from tests.caller import Caller
from tests.statements import recorded

URL = "https://example.com/"


def create(**fields: Any) -> dict[str, Any]:
    return {"op": "create", "link": {"url": URL} | fields}


def perform(caller: Caller, *operations: Any) -> list[dict[str, Any]]:
    response = caller.post("/links/batch", {"operations": operations})
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = (response.json or {})["results"]
    assert len(results) == len(operations)
    return results


def statuses(results: list[dict[str, Any]]) -> list[int]:
    return [result["status"] for result in results]


def test_results_are_in_the_order_of_the_operations(caller: Caller) -> None:
    old = caller.create_link(title="old")
    results = perform(
        caller,
        create(title="first"),
        create(title="second", tags=["a"]),
        {"op": "update", "id": old["id"], "link": {"title": "new"}},
        {"op": "delete", "id": old["id"]},
        create(title="third"),
    )
    assert statuses(results) == [201, 201, 200, 204, 201]
    links = [result.get("link") for result in results]
    assert [link and link["title"] for link in links] == ["first", "second", "new", None, "third"]
    assert results[3] == {"status": 204}
    for link in (links[0], links[1], links[4]):
        assert caller.get(f"/links/{link['id']}").json == link  # type: ignore[index]
    assert caller.get("/links?tag=a").json["data"] == [links[1]]  # type: ignore[index]


def test_new_links_are_told_as_they_are_read_later(caller: Caller, slug: str) -> None:
    numbers = {"whole": 1, "real": 1.0, "huge": 1e22, "small": 1e-7, "b": {"z": [None], "a": "ä"}}
    (result, plain) = perform(
        caller,
        create(
            slug=slug,
            metadata=numbers,
            tags=["b", "a", "b"],
            max_clicks=5,
            password="a secret",
            starts_at="2026-01-01T01:00:00.123456+02:00",
            expires_at="2999-01-01T00:00:00Z",
            redirect_status=308,
            forward_query=True,
            state="disabled",
        ),
        create(),
    )
    for link in (result["link"], plain["link"]):
        assert caller.get(f"/links/{link['id']}").json == link


def test_one_failure_stops_no_other(caller: Caller, other_caller: Caller, slug: str) -> None:
    caller.create_link(slug=slug)
    foreign = other_caller.create_link()["id"]
    results = perform(
        caller,
        create(url="nonsense"),
        create(slug=slug),
        create(),
        {"op": "update", "id": foreign, "link": {"title": "stolen"}},
        {"op": "delete", "id": foreign},
        {"op": "explode"},
        {},
        create(nonsense=1),
        {"op": "update", "id": foreign, "link": {"slug": "x"}},
        {"op": "delete", "id": "x"},
        {"op": "delete"},
        create(),
    )
    expected = [422, 409, 201, 404, 404, 422, 422, 422, 422, 422, 422, 201]
    assert statuses(results) == expected
    assert all(("problem" in result) == (result["status"] >= 400) for result in results)
    assert all(result.get("problem", result)["status"] == result["status"] for result in results)
    assert other_caller.get(f"/links/{foreign}").json["title"] is None  # type: ignore[index]


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        ({}, "/operations/1/op"),
        ({"op": "explode"}, "/operations/1/op"),
        ({"op": "create"}, "/operations/1/link"),
        ({"op": "create", "link": []}, "/operations/1/link"),
        ({"op": "create", "link": {}}, "/operations/1/link/url"),
        ({"op": "create", "link": {"url": "nonsense"}}, "/operations/1/link/url"),
        ({"op": "create", "link": {"url": URL, "slug": "api"}}, "/operations/1/link/slug"),
        ({"op": "update", "link": {}}, "/operations/1/id"),
        ({"op": "update", "id": "1"}, "/operations/1/link"),
        ({"op": "update", "id": "1", "link": {"url": None}}, "/operations/1/link/url"),
        ({"op": "update", "id": "1", "link": {"url": "x"}}, "/operations/1/link/url"),
        ({"op": "delete", "id": 1}, "/operations/1/id"),
        ({"op": "delete", "id": str(2**63)}, "/operations/1/id"),
        ({"op": "delete", "id": "1", "more": 1}, "/operations/1/more"),
    ],
)
def test_pointers_lead_into_the_whole_body(
    caller: Caller, operation: dict[str, Any], wrong: str
) -> None:
    problem = perform(caller, create(), operation)[1]["problem"]
    assert [error["pointer"] for error in problem["errors"]] == [wrong]
    assert problem["detail"].startswith(wrong)


@pytest.mark.parametrize(
    ("operations", "wrong"),
    [
        (None, "/operations"),
        ([], "/operations"),
        ({}, "/operations"),
        ([1], "/operations/0"),
        ([{}, None], "/operations/1"),
        ([{}] * 1001, "/operations"),
    ],
)
def test_what_is_no_list_of_operations_is_refused_whole(
    caller: Caller, operations: Any, wrong: str
) -> None:
    assert wrong_fields(caller.post("/links/batch", {"operations": operations})) == [wrong]


def test_one_slug_twice_is_made_once(caller: Caller, slug: str) -> None:
    results = perform(caller, create(slug=slug), create(slug=slug), create(slug=slug.upper()))
    assert statuses(results) == [201, 409, 201]


def test_deleted_slug_is_free_for_the_next_operation_where_allowed(
    caller: Caller, slug: str
) -> None:
    old = caller.create_link(slug=slug)
    operations = ({"op": "delete", "id": old["id"]}, create(slug=slug), create(slug=slug))
    caller.patch(f"/workspaces/{caller.workspace_id}", {"reuse_deleted_slugs": True})
    assert statuses(perform(caller, *operations)) == [204, 201, 409]


def count_statements(caller: Caller, *operations: Any) -> int:
    with recorded() as sent:
        perform(caller, *operations)
    return len(sent)


def test_a_thousand_creations_take_few_statements(caller: Caller, slug: str) -> None:
    operations = [
        create(url=f"https://host-{number}.example/", slug=f"{slug}-{number}", tags=["a", "b"])
        for number in range(1000)
    ]
    # One of them is which plan the workspace has, which is then remembered.
    assert count_statements(caller, *operations) <= 9
    assert statuses(perform(caller, *operations)) == [409] * 1000
    assert count_statements(caller, *operations) <= 8


def test_hundreds_of_changes_take_few_statements(caller: Caller) -> None:
    ids = [result["link"]["id"] for result in perform(caller, *[create()] * 300)]
    patches: list[dict[str, Any]] = [
        {"title": "new", "tags": ["a"]},
        {"max_clicks": 5},
        {"url": "https://other.example/", "metadata": {"a": 1}},
    ]
    changes = [
        {"op": "update", "id": each, "link": patches[number % 3]} for number, each in enumerate(ids)
    ]
    assert count_statements(caller, *changes) <= 8
    assert count_statements(caller, *({"op": "delete", "id": each} for each in ids)) <= 6
    assert caller.get("/links").json["data"] == []  # type: ignore[index]


def test_changes_of_a_batch_are_each_links_own(caller: Caller) -> None:
    first, second, third = (caller.create_link(title="old", tags=["old"]) for _ in range(3))
    results = perform(
        caller,
        {"op": "update", "id": first["id"], "link": {"title": None, "metadata": {"a": [1]}}},
        {"op": "update", "id": second["id"], "link": {"tags": ["x", "y"], "state": "disabled"}},
        {"op": "update", "id": third["id"], "link": {"expires_at": "2099-01-01T00:00:00Z"}},
        {"op": "update", "id": third["id"], "link": {"starts_at": "2099-01-01T00:00:00Z"}},
        {"op": "update", "id": third["id"], "link": {"title": "last"}},
    )
    assert statuses(results) == [200, 200, 200, 422, 200]
    changed = [results[index]["link"] for index in (0, 1, 4)]
    expected = [
        first | {"title": None, "metadata": {"a": [1]}},
        second | {"tags": ["x", "y"], "state": "disabled"},
        third | {"title": "last", "expires_at": "2099-01-01T00:00:00Z"},
    ]
    moments = [link["updated_at"] for link in changed]
    assert changed == [
        link | {"updated_at": moment} for link, moment in zip(expected, moments, strict=True)
    ]
    assert [caller.get(f"/links/{link['id']}").json for link in changed] == changed
    assert caller.get("/links?tag=x").json["data"] == [changed[1]]  # type: ignore[index]
    assert [link["id"] for link in caller.get("/links?tag=old").json["data"]] == [  # type: ignore[index]
        third["id"],
        first["id"],
    ]


def test_link_that_was_deleted_can_be_changed_no_more(caller: Caller) -> None:
    link = caller.create_link()["id"]
    delete, update = {"op": "delete", "id": link}, {"op": "update", "id": link, "link": {}}
    assert statuses(perform(caller, update, delete, delete, update)) == [200, 204, 404, 404]


def test_batches_with_the_same_slugs_crosswise_do_not_deadlock(
    caller: Caller, other_caller: Caller, slug: str
) -> None:
    forward = [create(slug=f"{slug}-{number}") for number in range(200)]
    answers: list[list[int]] = []

    def run(who: Caller, operations: list[dict[str, Any]]) -> None:
        answers.append(statuses(perform(who, *operations)))

    threads = [
        threading.Thread(target=run, args=(caller, forward)),
        threading.Thread(target=run, args=(other_caller, forward[::-1])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = [status for answer in answers for status in answer]
    assert sorted(together) == [201] * 200 + [409] * 200


def test_numbers_of_a_batch_are_strings_of_digits(caller: Caller) -> None:
    (result,) = perform(caller, create())
    assert isinstance(result["link"]["id"], str)
