"""A link comes to be: its fields and what they are when nothing is said."""

from __future__ import annotations

import re
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.core.ids import slot_of, slot_of_id
from api.core.slugs import ALPHABET
from tests.answers import problem, wrong_fields
from tests.caller import Caller

ALL_FIELDS = {
    "title": "Spring sale",
    "tags": ["spring", "mail"],
    "starts_at": "2026-03-01T00:00:00Z",
    "expires_at": "2096-03-01T00:00:00Z",
    "max_clicks": 10,
    "redirect_status": 308,
    "forward_query": True,
    "state": "disabled",
    "metadata": {"campaign": 42, "deep": {"list": [1, None, "x"]}},
}


def test_url_alone_makes_a_link_of_defaults(caller: Caller) -> None:
    response = caller.post("/links", {"url": "https://example.com/a"})
    assert response.status_code == 201
    link = response.json
    assert link is not None
    made = datetime.fromisoformat(link.pop("created_at"))
    assert abs(datetime.now(UTC) - made) < timedelta(seconds=30)
    assert datetime.fromisoformat(link.pop("updated_at")) == made
    slug = link.pop("slug")
    assert re.fullmatch(f"[{ALPHABET}]{{7}}", slug)
    identifier = link.pop("id")
    assert re.fullmatch("[0-9]{15,19}", identifier)
    assert slot_of_id(int(identifier)) == slot_of("sign.test", slug)
    assert response.headers["Location"] == f"/api/v1/links/{identifier}"
    assert response.headers["ETag"]
    assert link == {
        "domain": "sign.test",
        "short_url": f"http://sign.test/{slug}",
        "url": "https://example.com/a",
        "state": "active",
        "title": None,
        "tags": [],
        "starts_at": None,
        "expires_at": None,
        "max_clicks": None,
        "has_password": False,
        "redirect_status": 302,
        "forward_query": False,
        "metadata": {},
        "clicks": 0,
    }


def test_every_field_is_kept_and_read_back(caller: Caller, slug: str) -> None:
    made = caller.create_link("https://example.com/a", slug=slug, domain="sign.test", **ALL_FIELDS)
    assert made.items() >= ALL_FIELDS.items()
    assert made["slug"] == slug
    assert caller.get(f"/links/{made['id']}").json == made


def test_password_is_never_shown(caller: Caller) -> None:
    response = caller.post("/links", {"url": "https://example.com/", "password": "open sesame"})
    assert response.status_code == 201
    assert response.json["has_password"] is True  # type: ignore[index]
    assert "sesame" not in response.text
    assert "argon2" not in response.text


def test_null_is_the_default_of_an_optional_field(caller: Caller) -> None:
    nothing = dict.fromkeys(("title", "starts_at", "expires_at", "max_clicks", "password"))
    link = caller.create_link(**nothing)
    assert all(link[name] is None for name in nothing if name != "password")
    assert link["has_password"] is False


def test_times_are_told_in_utc(caller: Caller) -> None:
    link = caller.create_link(expires_at="2090-06-01T12:00:00.250+05:30")
    assert link["expires_at"] == "2090-06-01T06:30:00.250000Z"


def test_tags_are_kept_once_each_and_in_order(caller: Caller) -> None:
    assert caller.create_link(tags=["b", "a", "b", "é"])["tags"] == ["b", "a", "é"]


def test_numbers_past_64_bits_in_metadata_do_not_spoil_the_list(caller: Caller) -> None:
    link = caller.create_link(metadata={"large": 1e20, "small": 1e-7, "whole": 2**53})
    assert caller.get("/links").json["data"] == [link]  # type: ignore[index]
    assert link["metadata"] == {"large": 1e20, "small": 1e-7, "whole": 2**53}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"nonsense": 1}, "/nonsense"),
        ({"value": 1}, "/value"),
        ({"a/b~c": 1}, "/a~1b~0c"),
        ({"id": "1"}, "/id"),
        ({"rules": []}, "/rules"),
        ({"url": None}, "/url"),
        ({"url": 1}, "/url"),
        ({"slug": ""}, "/slug"),
        ({"slug": None}, "/slug"),
        ({"domain": None}, "/domain"),
        ({"title": "x" * 501}, "/title"),
        ({"title": "a\0b"}, "/title"),
        ({"tags": "spring"}, "/tags"),
        ({"tags": None}, "/tags"),
        ({"tags": [""]}, "/tags/0"),
        ({"tags": ["fine", " x"]}, "/tags/1"),
        ({"tags": ["x" * 51]}, "/tags/0"),
        ({"tags": [1]}, "/tags/0"),
        ({"tags": [str(number) for number in range(21)]}, "/tags"),
        ({"starts_at": "yesterday"}, "/starts_at"),
        ({"starts_at": "2026-03-01T00:00:00"}, "/starts_at"),
        ({"starts_at": 1772323200}, "/starts_at"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "/expires_at"),
        (
            {"starts_at": "2090-01-01T00:00:00Z", "expires_at": "2090-01-01T00:00:00Z"},
            "/expires_at",
        ),
        ({"max_clicks": 0}, "/max_clicks"),
        ({"max_clicks": True}, "/max_clicks"),
        ({"max_clicks": "5"}, "/max_clicks"),
        ({"max_clicks": 1.5}, "/max_clicks"),
        ({"max_clicks": 2**53}, "/max_clicks"),
        ({"max_clicks": 2**63}, "/max_clicks"),
        ({"password": ""}, "/password"),
        ({"password": "x" * 257}, "/password"),
        ({"redirect_status": 303}, "/redirect_status"),
        ({"redirect_status": "301"}, "/redirect_status"),
        ({"forward_query": "yes"}, "/forward_query"),
        ({"forward_query": 1}, "/forward_query"),
        ({"forward_query": None}, "/forward_query"),
        ({"state": "expired"}, "/state"),
        ({"metadata": None}, "/metadata"),
        ({"metadata": []}, "/metadata"),
        ({"metadata": {"": 1}}, "/metadata/"),
        ({"metadata": {"x" * 101: 1}}, f"/metadata/{'x' * 101}"),
        ({"metadata": {str(number): 1 for number in range(51)}}, "/metadata"),
        ({"metadata": {"a": [[[[[]]]]]}}, "/metadata"),
        ({"metadata": {"a": "x" * 16_384}}, "/metadata"),
        ({"metadata": {"a\0": 1}}, "/metadata"),
    ],
)
def test_wrong_field_is_named_by_its_pointer(
    caller: Caller, fields: dict[str, Any], wrong: str
) -> None:
    response = caller.post("/links", {"url": "https://example.com/"} | fields)
    assert wrong_fields(response) == [wrong]


def test_all_wrong_fields_are_named_at_once(caller: Caller) -> None:
    response = caller.post("/links", {"title": 1, "max_clicks": 0, "tags": [1]})
    assert wrong_fields(response) == ["/max_clicks", "/tags/0", "/title", "/url"]


def test_taken_slug_answers_409(caller: Caller, other_caller: Caller, slug: str) -> None:
    caller.create_link(slug=slug)
    for again in (caller, other_caller):
        answer = again.post("/links", {"url": "https://example.org/", "slug": slug})
        problem(answer, 409, "slug-taken")


def test_simultaneous_creations_of_one_slug_give_one_link(
    caller: Caller, other_caller: Caller, slug: str
) -> None:
    begin = threading.Barrier(6)
    statuses: Counter[int] = Counter()

    def create(who: Caller) -> None:
        begin.wait(5)
        statuses[who.post("/links", {"url": "https://a.com", "slug": slug}).status_code] += 1

    threads = [threading.Thread(target=create, args=(who,)) for who in (caller, other_caller) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {201: 1, 409: 5}


def test_generated_slugs_have_the_length_of_the_setting(caller_with: Any) -> None:
    assert len(caller_with(SLUG_LENGTH="12").create_link()["slug"]) == 12


def test_exhausted_generated_slugs_answer_409_and_not_500(
    caller: Caller, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.links.drafts.generate_slug", lambda length: slug)
    assert caller.create_link()["slug"] == slug
    problem(caller.post("/links", {"url": "https://example.com/"}), 409, "slug-taken")
