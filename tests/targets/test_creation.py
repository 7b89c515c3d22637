"""Links that would lead where a rule says that none may."""

from __future__ import annotations

from tests.answers import wrong_fields
from tests.caller import Caller
from tests.targets.conftest import BlockAll

BLOCKED = "https://www.evil.example/x"


def block(caller: Caller, value: str = "evil.example", kind: str = "host") -> str:
    made = caller.post(
        "/blocked-targets", {"kind": kind, "value": value, "reason": "Known for phishing."}
    )
    assert made.status_code == 201, made.text
    return str((made.json or {})["id"])


def test_link_is_refused_and_the_reason_told(caller: Caller) -> None:
    block(caller)
    answer = caller.post("/links", {"url": BLOCKED})
    assert wrong_fields(answer) == ["/url"]
    assert "Known for phishing." in answer.text
    caller.create_link("https://good.example/")


def test_other_spellings_are_refused_too(caller: Caller) -> None:
    block(caller)
    for url in (
        "https://EVIL.example./",
        "https://evil。example/",
        "https://x@evil.example:444/",
        "https:\\\\evil.example\\",
        "https://%65vil.example/",
    ):
        assert wrong_fields(caller.post("/links", {"url": url})) == ["/url"], url


def test_change_of_the_target_is_refused(caller: Caller) -> None:
    link = caller.create_link("https://good.example/")
    block(caller)
    assert wrong_fields(caller.patch(f"/links/{link['id']}", {"url": BLOCKED})) == ["/url"]
    assert (caller.get(f"/links/{link['id']}").json or {})["url"] == "https://good.example/"


def test_blocked_link_can_still_be_changed_otherwise(caller: Caller) -> None:
    link = caller.create_link(BLOCKED)
    block(caller)
    assert caller.patch(f"/links/{link['id']}", {"title": "Old"}).status_code == 200


def test_batch_tells_of_each(caller: Caller) -> None:
    link = caller.create_link("https://good.example/")
    block(caller, "*//evil.example/bad*", "pattern")
    operations = [
        {"op": "create", "link": {"url": "https://evil.example/bad/1"}},
        {"op": "create", "link": {"url": "https://evil.example/good"}},
        {"op": "update", "id": link["id"], "link": {"url": "https://evil.example/BAD"}},
    ]
    answer = caller.post("/links/batch", {"operations": operations})
    results = (answer.json or {})["results"]
    assert [result["status"] for result in results] == [422, 201, 422], answer.text
    pointers = [
        result["problem"]["errors"][0]["pointer"] for result in results if "problem" in result
    ]
    assert all(pointer.endswith("/url") for pointer in pointers)
    assert len(pointers) == 2


def test_rule_that_is_removed_refuses_no_more(caller: Caller) -> None:
    rule = block(caller)
    assert caller.post("/links", {"url": BLOCKED}).status_code == 422
    assert caller.delete(f"/blocked-targets/{rule}").status_code == 204
    caller.create_link(BLOCKED)


def test_rule_of_the_installation_is_everybodys(
    caller: Caller, other_caller: Caller, block_everywhere: BlockAll
) -> None:
    block_everywhere("everywhere-evil.example", reason="Malware.")
    for each in (caller, other_caller):
        answer = each.post("/links", {"url": "https://everywhere-evil.example/"})
        assert wrong_fields(answer) == ["/url"]
        assert "Malware." in answer.text
    assert (caller.get("/blocked-targets").json or {})["data"] == []
