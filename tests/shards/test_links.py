"""Links on several shards are one list, and one name space."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import text

from api.core.database import routing
from api.core.ids import slot_of_id
from tests.caller import Caller
from tests.shards.conftest import HALF, Shards

SORTS = ("created_at", "-created_at", "updated_at", "-updated_at")


def _create(caller: Caller, many: int) -> list[dict[str, Any]]:
    return [
        caller.create_link(f"https://example.com/{number}", slug=f"slug-{number}", tags=["even"])
        for number in range(many)
    ]


def _walk(caller: Caller, query: str) -> list[str]:
    """The ids of a list, page by page."""
    found: list[str] = []
    cursor = ""
    while True:
        page = caller.get(f"/links?{query}{cursor}").json
        found += [link["id"] for link in page["data"]]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def test_rows_are_where_their_slots_are(shards: Shards) -> None:
    links = _create(shards.caller(), 30)
    slots = [slot_of_id(int(link["id"])) for link in links]
    for shard, there in (("main", [s for s in slots if s < HALF]), ("second", slots)):
        expected = len(there) if shard == "main" else sum(s >= HALF for s in slots)
        assert 0 < expected == shards.count(shard, "SELECT count(*) FROM links")


@pytest.mark.parametrize("sort", SORTS)
def test_a_list_is_one_list_with_one_cursor(shards: Shards, sort: str) -> None:
    caller = shards.caller()
    links = _create(caller, 25)
    for place in range(0, 25, 3):
        links[place] = caller.patch(f"/links/{links[place]['id']}", {"title": "a title"}).json
    key = sort.removeprefix("-")

    def place_of(link: Any) -> tuple[datetime, int]:
        # Not as text: a whole second is told without a fraction.
        return datetime.fromisoformat(link[key]), int(link["id"])

    ordered = sorted(links, key=place_of, reverse=sort[0] == "-")
    expected = [link["id"] for link in ordered]
    assert _walk(caller, f"limit=4&sort={sort}") == expected
    assert _walk(caller, f"limit=4&sort={sort}&tag=even") == expected
    assert _walk(caller, f"limit=200&sort={sort}&q=example") == expected


def test_each_call_finds_its_shard(shards: Shards) -> None:
    caller = shards.caller()
    for link in _create(caller, 8):
        path = f"/links/{link['id']}"
        assert caller.get(path).json["url"] == link["url"]
        assert caller.patch(path, {"title": "new"}).json["title"] == "new"
        again = caller.post("/links?find_existing=true", {"url": link["url"]})
        assert (again.status_code, again.json["id"]) == (200, link["id"])
        assert shards.app.test_client().get(f"/{link['slug']}").status_code == 302
        assert caller.delete(path).status_code == 204
        assert shards.app.test_client().get(f"/{link['slug']}").status_code == 410


def test_a_batch_goes_to_all_shards(shards: Shards) -> None:
    caller = shards.caller()
    operations = [
        {"op": "create", "link": {"url": "https://example.com/", "slug": f"{number * 7919}-batch"}}
        for number in range(20)
    ]
    results = caller.post("/links/batch", {"operations": operations}).json["results"]
    assert {result["status"] for result in results} == {201}
    assert shards.count("main", "SELECT count(*) FROM links") in range(1, 20)
    again = caller.post("/links/batch", {"operations": operations}).json["results"]
    assert {result["status"] for result in again} == {409}


def test_an_atomic_batch_stays_on_one_shard(shards: Shards) -> None:
    caller = shards.caller()
    create = {"op": "create", "link": {"url": "https://example.com/"}}
    made = caller.post("/links/batch", {"operations": [create] * 20, "atomic": True})
    assert {result["status"] for result in made.json["results"]} == {201}
    assert shards.count("main", "SELECT count(*) FROM links") in (0, 20)
    ids = [link["id"] for link in _create(caller, 30)]
    sides = [slot_of_id(int(each)) < HALF for each in ids]
    assert {True, False} == set(sides)
    for side in (True, False):
        there = [each for each, its in zip(ids, sides, strict=True) if its is side]
        operations = [{"op": "update", "id": each, "link": {"title": "new"}} for each in there]
        operations += [create] * 10
        answer = caller.post("/links/batch", {"operations": operations, "atomic": True})
        assert answer.status_code == 200
        links = [result["link"] for result in answer.json["results"]]
        assert {slot_of_id(int(link["id"])) < HALF for link in links} == {side}


def test_an_atomic_batch_over_two_shards_is_refused(shards: Shards) -> None:
    caller = shards.caller()
    ids = [link["id"] for link in _create(caller, 30)]
    operations = [{"op": "delete", "id": each} for each in ids]
    refused = caller.post("/links/batch", {"operations": operations, "atomic": True})
    assert refused.status_code == 422
    assert refused.json["type"] == "urn:signpost:problem:batch-spans-databases"
    side = slot_of_id(int(ids[0])) < HALF
    assert [error["pointer"] for error in refused.json["errors"]] == [
        f"/operations/{place}"
        for place, each in enumerate(ids)
        if (slot_of_id(int(each)) < HALF) is not side
    ]
    assert len(_walk(caller, "limit=100")) == 30


def test_a_process_learns_of_another_map_within_a_second(shards: Shards) -> None:
    caller = shards.caller()
    caller.create_link()
    with shards.engines["main"].begin() as connection:
        connection.execute(text("DELETE FROM slots"))
        connection.execute(text("UPDATE slot_map SET version = version + 1"))
    time.sleep(1.05)
    before = shards.count("main", "SELECT count(*) FROM links")
    _create(caller, 10)
    assert shards.count("main", "SELECT count(*) FROM links") == before + 10


def test_who_writes_waits_while_a_slot_is_closed(shards: Shards) -> None:
    caller = shards.caller()
    shards.assign("main", 0, HALF - 1, closed=True)
    shards.assign("second", HALF, 1023, closed=True)
    answers: list[int] = []

    def create() -> None:
        answers.append(caller.post("/links", {"url": "https://example.com/"}).status_code)

    writer = threading.Thread(target=create)
    writer.start()
    writer.join(0.5)
    assert writer.is_alive()
    assert answers == []
    shards.assign("second", 0, 1023, known=False)
    writer.join(5)
    assert answers == [201]
    assert shards.count("second", "SELECT count(*) FROM links") == 1


def test_reading_goes_on_while_a_slot_is_closed_and_writing_ends_with_503(
    shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "_CLOSED_SECONDS", 0.2)
    caller = shards.caller()
    link = caller.create_link()
    shards.assign("main", 0, 1023, closed=True, copy_on="second")
    shards.assign("second", HALF, 1023, closed=True)
    assert caller.get(f"/links/{link['id']}").status_code == 200
    refused = caller.patch(f"/links/{link['id']}", {"title": "x"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")


def test_copies_of_a_move_are_in_no_answer(shards: Shards) -> None:
    caller = shards.caller()
    links = _create(caller, 20)
    # As a move does before it ends: the rows of `main` are on `second`, too.
    with shards.engines["main"].connect() as here, shards.engines["second"].begin() as there:
        for table in ("links", "link_tags"):
            names = here.execute(text(f"SELECT * FROM {table} LIMIT 0")).keys()
            columns = list(set(names) - {"search"})
            rows = here.execute(text(f"SELECT {', '.join(columns)} FROM {table}")).all()
            values = ", ".join(
                f"CAST(:{column} AS jsonb)" if column == "metadata" else f":{column}"
                for column in columns
            )
            insertion = text(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})")
            there.execute(insertion, [row._asdict() | _json(row) for row in rows])
    shards.assign("main", 0, HALF - 1, copy_on="second")
    everything = [link["id"] for link in reversed(links)]
    for query in ("", "&sort=-updated_at", "&tag=even", "&q=example"):
        assert _walk(caller, f"limit=7{query}") == everything
    shards.assign("second", 0, HALF - 1, copy_on="main")
    for query in ("", "&sort=-updated_at", "&tag=even", "&q=example"):
        assert _walk(caller, f"limit=7{query}") == everything


def _json(row: Any) -> dict[str, str]:
    return {"metadata": "{}"} if "metadata" in row._fields else {}


def test_a_shard_without_an_address_is_told_and_answers_503(shards: Shards) -> None:
    caller = shards.caller()
    shards.assign("nowhere", 0, 1023)
    assert caller.post("/links", {"url": "https://example.com/"}).status_code == 503


def test_of_two_processes_with_one_slug_one_gets_it(shards: Shards) -> None:
    caller = shards.caller()
    other = Caller(shards.other_process(), caller.identity, caller.workspace_id, caller.key)
    answers: list[int] = []

    def create(by: Caller, slug: str) -> None:
        answers.append(by.post("/links", {"url": "https://example.com/", "slug": slug}).status_code)

    for number in range(15):
        if number == 7:
            # Slots that have no link yet change hands at once, and one process hears of it late.
            shards.assign("main", HALF, 1023, closed=True, known=False)
            time.sleep(1.1)
            shards.assign("main", 0, 1023, known=False)
        threads = [
            threading.Thread(target=create, args=(by, f"race-{number}")) for by in (caller, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(15)
    assert sorted(answers) == [201] * 15 + [409] * 15
    other.app.extensions["signpost"].db.dispose()
