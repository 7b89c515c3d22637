"""What each field of a link does to a visit."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.caller import Caller
from tests.redirects.visitor import Visitor


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_link_redirects_to_its_target(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link("https://example.com/päge?a=1&b=%20#part")

    response = visitor.follow(link)

    assert response.status_code == 302
    assert response.headers["Location"] == "https://example.com/p%C3%A4ge?a=1&b=%20#part"
    assert response.data == b""
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_has_the_links_status_and_is_not_kept(
    caller: Caller, visitor: Visitor, status: int
) -> None:
    response = visitor.follow(caller.create_link(redirect_status=status))

    assert response.status_code == status
    assert "no-store" in response.headers["Cache-Control"]


def test_head_answers_like_get_without_a_body(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link("https://example.com/target")

    response = visitor.follow(link, method="HEAD")

    assert (response.status_code, response.data) == (302, b"")
    assert response.headers["Location"] == "https://example.com/target"


def test_head_of_unknown_slug_answers_404(visitor: Visitor) -> None:
    response = visitor.open("/there-is-no-such-link", method="HEAD")

    assert (response.status_code, response.data) == (404, b"")


def test_link_before_its_start_answers_404(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(starts_at=in_seconds(3600))

    assert visitor.follow(link).status_code == 404


def test_link_starts_while_it_is_cached(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(starts_at=in_seconds(0.4))

    assert visitor.follow(link).status_code == 404
    time.sleep(0.5)
    assert visitor.follow(link).status_code == 302


def test_expired_link_answers_410(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(expires_at=in_seconds(-60))

    assert visitor.follow(link).status_code == 410


def test_link_expires_while_it_is_cached(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(expires_at=in_seconds(0.4))

    assert visitor.follow(link).status_code == 302
    time.sleep(0.5)
    assert visitor.follow(link).status_code == 410


def test_expiry_can_be_taken_back(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(expires_at=in_seconds(-60))
    assert visitor.follow(link).status_code == 410

    assert caller.patch(f"/links/{link['id']}", {"expires_at": None}).status_code == 200

    assert visitor.follow(link).status_code == 302


def test_disabled_link_answers_404_until_it_is_enabled(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link()
    assert visitor.follow(link).status_code == 302

    caller.patch(f"/links/{link['id']}", {"state": "disabled"})
    assert visitor.follow(link).status_code == 404

    caller.patch(f"/links/{link['id']}", {"state": "active"})
    assert visitor.follow(link).status_code == 302


def test_link_that_starts_disabled_answers_404(caller: Caller, visitor: Visitor) -> None:
    assert visitor.follow(caller.create_link(state="disabled")).status_code == 404


def test_deleted_link_answers_410_at_once(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link()
    assert visitor.follow(link).status_code == 302

    assert caller.delete(f"/links/{link['id']}").status_code == 204

    assert visitor.follow(link).status_code == 410


def test_changed_target_counts_at_once(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link("https://example.com/old")
    visitor.follow(link)

    caller.patch(f"/links/{link['id']}", {"url": "https://example.com/new"})

    assert visitor.follow(link).headers["Location"] == "https://example.com/new"


def test_link_answers_410_after_its_clicks_are_used_up(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(max_clicks=2)

    assert [visitor.follow(link).status_code for _ in range(4)] == [302, 302, 410, 410]


def test_fifty_concurrent_visitors_of_ten_clicks_get_ten_redirects(
    caller: Caller, visitor: Visitor
) -> None:
    link = caller.create_link(max_clicks=10)

    with ThreadPoolExecutor(50) as pool:
        visits = [pool.submit(visitor.follow, link) for _ in range(50)]
        statuses = sorted(visit.result().status_code for visit in visits)

    assert statuses == [302] * 10 + [410] * 40


def test_raised_limit_lets_more_visitors_pass(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(max_clicks=1)
    assert [visitor.follow(link).status_code for _ in range(2)] == [302, 410]

    caller.patch(f"/links/{link['id']}", {"max_clicks": 2})

    assert [visitor.follow(link).status_code for _ in range(2)] == [302, 410]


def test_removed_limit_lets_everybody_pass(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(max_clicks=1)
    assert [visitor.follow(link).status_code for _ in range(2)] == [302, 410]

    caller.patch(f"/links/{link['id']}", {"max_clicks": None})

    assert [visitor.follow(link).status_code for _ in range(3)] == [302] * 3


def test_limited_link_expires_while_it_is_cached(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(max_clicks=5, expires_at=in_seconds(0.3))
    assert visitor.follow(link).status_code == 302
    time.sleep(0.4)

    assert visitor.follow(link).status_code == 410


def test_unknown_slug_answers_404_problem(visitor: Visitor) -> None:
    response = visitor.open("/there-is-no-such-link")

    assert response.status_code == 404
    assert response.content_type == "application/problem+json"
    assert response.get_json()["type"] == "urn:signpost:problem:link-unknown"
    assert "no-store" in response.headers["Cache-Control"]
    assert response.headers["Vary"] == "Accept"


def test_other_methods_answer_405_with_allow(caller: Caller, visitor: Visitor) -> None:
    response = visitor.follow(caller.create_link(), method="DELETE")

    assert response.status_code == 405
    assert {"GET", "HEAD"} <= set(response.headers["Allow"].split(", "))
