"""A retry under the same `Idempotency-Key` gets the first answer again."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from tests.answers import problem, wrong_fields
from tests.caller import Caller

BODY = {"url": "https://example.com/"}
KEY = {"Idempotency-Key": "order 66/a"}


def test_retry_gets_the_first_answer_byte_for_byte(caller: Caller) -> None:
    first = caller.post("/links", BODY, headers=KEY)
    assert first.status_code == 201
    assert "Idempotent-Replayed" not in first.headers
    caller.patch(first.headers["Location"].removeprefix("/api/v1"), {"title": "changed since"})
    second = caller.post("/links", BODY, headers=KEY)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.data == first.data
    assert second.status_code == first.status_code
    for name in ("Content-Type", "Location", "ETag"):
        assert second.headers[name] == first.headers[name]
    assert len(caller.get("/links").json["data"]) == 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/links", BODY | {"title": "x"}),
        ("/links?find_existing=true", BODY),
        ("/links/batch", {"operations": [{"op": "create", "link": BODY}]}),
    ],
)
def test_another_request_under_the_same_key_answers_422(
    caller: Caller, path: str, body: dict[str, Any]
) -> None:
    caller.post("/links", BODY, headers=KEY)
    problem(caller.post(path, body, headers=KEY), 422, "idempotency-key-reused")


def test_workspaces_do_not_share_keys(caller: Caller, other_caller: Caller) -> None:
    first = caller.post("/links", BODY, headers=KEY)
    second = other_caller.post("/links", BODY, headers=KEY)
    assert "Idempotent-Replayed" not in second.headers
    assert first.json["id"] != second.json["id"]  # type: ignore[index]


def test_failed_request_leaves_the_key_free(caller: Caller, slug: str) -> None:
    problem(caller.post("/links", {"url": "nonsense"}, headers=KEY), 422, "validation-failed")
    taken = caller.create_link(slug=slug)
    body = BODY | {"slug": slug}
    problem(caller.post("/links", body, headers=KEY), 409, "slug-taken")
    assert caller.delete(f"/links/{taken['id']}").status_code == 204
    assert caller.post("/links", BODY, headers=KEY).status_code == 201


def test_batch_is_replayed(caller: Caller) -> None:
    body = {"operations": [{"op": "create", "link": BODY}, {"op": "delete", "id": "1"}]}
    first = caller.post("/links/batch", body, headers=KEY)
    second = caller.post("/links/batch", body, headers=KEY)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.data == first.data


def test_simultaneous_requests_make_one_link(caller: Caller) -> None:
    begin = threading.Barrier(6)
    statuses: Counter[int] = Counter()

    def create() -> None:
        begin.wait(5)
        response = caller.post("/links", BODY, headers=KEY)
        statuses[response.status_code] += 1
        if response.status_code == 409:
            problem(response, 409, "idempotency-key-in-use")
            assert response.headers["Retry-After"] == "1"

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses[201] >= 1
    assert statuses.total() == statuses[201] + statuses[409] == 6
    assert len(caller.get("/links").json["data"]) == 1  # type: ignore[index]


def test_request_while_the_first_is_running_answers_409(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(length: int) -> str:
        inside.set()
        go_on.wait(5)
        return f"slow-{caller.workspace_id}"

    monkeypatch.setattr("api.links.drafts.generate_slug", slow)
    answers = []
    first = threading.Thread(
        target=lambda: answers.append(caller.post("/links", BODY, headers=KEY))
    )
    first.start()
    assert inside.wait(5)
    problem(caller.post("/links", BODY, headers=KEY), 409, "idempotency-key-in-use")
    go_on.set()
    first.join()
    assert answers[0].status_code == 201


@pytest.mark.parametrize("key", ["", "é", "x" * 256, "a\tb"])
def test_key_that_is_no_printable_ascii_is_refused(caller: Caller, key: str) -> None:
    response = caller.post("/links", BODY, headers={"Idempotency-Key": key})
    assert wrong_fields(response) == ["Idempotency-Key"]


def test_key_is_looked_at_only_for_callers(caller: Caller) -> None:
    problem(caller.without("links:write").post("/links", BODY, headers=KEY), 403)
