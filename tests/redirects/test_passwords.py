"""Links that ask for a password."""

from __future__ import annotations

from typing import Any

import pytest

from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.visitor import Visitor

WRONG_TRIES = 5


@pytest.fixture
def link(caller: Caller) -> dict[str, Any]:
    return caller.create_link("https://example.com/secret", password="open sesame")


def test_browser_gets_a_form(link: dict[str, Any], visitor: Visitor) -> None:
    response = visitor.by_browser().follow(link)

    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    assert '<form method="post">' in response.text
    assert 'type="password"' in response.text
    assert "secret" not in response.text
    assert "no-store" in response.headers["Cache-Control"]
    assert response.headers["Vary"] == "Accept"


def test_program_gets_403_problem(link: dict[str, Any], visitor: Visitor) -> None:
    response = visitor.follow(link)

    assert response.status_code == 403
    assert response.get_json()["type"] == "urn:signpost:problem:password-required"
    assert "Location" not in response.headers


def test_right_password_answers_303(link: dict[str, Any], visitor: Visitor) -> None:
    response = visitor.unlock(link, "open sesame")

    assert response.status_code == 303
    assert response.headers["Location"] == "https://example.com/secret"
    assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.parametrize("status", [307, 308])
def test_password_is_never_sent_on_to_the_target(
    caller: Caller, visitor: Visitor, status: int
) -> None:
    link = caller.create_link(password="open sesame", redirect_status=status)

    assert visitor.unlock(link, "open sesame").status_code == 303


def test_wrong_password_answers_403(link: dict[str, Any], visitor: Visitor) -> None:
    response = visitor.unlock(link, "open barley")

    assert response.status_code == 403
    assert response.get_json()["type"] == "urn:signpost:problem:password-wrong"


def test_wrong_password_shows_the_form_again(link: dict[str, Any], visitor: Visitor) -> None:
    response = visitor.by_browser().unlock(link, "open barley")

    assert response.status_code == 403
    assert "not right" in response.text
    assert '<form method="post">' in response.text
    assert "barley" not in response.text


@pytest.mark.parametrize("form", [{}, {"password": ""}, {"other": "open sesame"}])
def test_missing_password_is_a_wrong_one(
    link: dict[str, Any], visitor: Visitor, form: dict[str, str]
) -> None:
    assert visitor.follow(link, method="POST", data=form).status_code == 403


def test_password_in_the_query_does_not_count(link: dict[str, Any], visitor: Visitor) -> None:
    target = f"/{link['slug']}?password=open%20sesame"

    assert visitor.open(target).status_code == 403
    assert visitor.open(target, method="POST").status_code == 403


def test_head_of_protected_link_is_not_let_through(link: dict[str, Any], visitor: Visitor) -> None:
    assert visitor.follow(link, method="HEAD").status_code == 403


def test_password_of_any_script_is_understood(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(password="пароль 密码 🔑")

    assert visitor.unlock(link, "пароль 密码 🔑").status_code == 303


def test_too_many_tries_of_one_address_answer_429(link: dict[str, Any], visitor: Visitor) -> None:
    tries = [visitor.unlock(link, "guess") for _ in range(WRONG_TRIES)]
    assert {response.status_code for response in tries} == {403}

    # Not even the right one: otherwise guesses could go on.
    response = visitor.unlock(link, "open sesame")

    assert response.status_code == 429
    assert 1 <= int(response.headers["Retry-After"]) <= 120
    assert response.get_json()["type"] == "urn:signpost:problem:too-many-requests"


def test_too_many_tries_show_a_page_to_browsers(link: dict[str, Any], visitor: Visitor) -> None:
    browser = visitor.by_browser()
    response = [browser.unlock(link, "guess") for _ in range(WRONG_TRIES + 1)][-1]

    assert response.status_code == 429
    assert response.content_type == "text/html; charset=utf-8"
    assert "Retry-After" in response.headers


def test_tries_of_one_address_do_not_lock_out_another(
    link: dict[str, Any], visitor: Visitor
) -> None:
    for _ in range(WRONG_TRIES + 1):
        visitor.unlock(link, "guess")

    assert visitor.from_address("203.0.113.9").unlock(link, "open sesame").status_code == 303


def test_tries_are_counted_per_link(caller: Caller, link: dict[str, Any], visitor: Visitor) -> None:
    for _ in range(WRONG_TRIES + 1):
        visitor.unlock(link, "guess")

    other = caller.create_link(password="another")
    assert visitor.unlock(other, "another").status_code == 303


def test_a_network_of_ipv6_has_no_more_tries_than_an_address(
    link: dict[str, Any], visitor: Visitor
) -> None:
    tries = [
        visitor.from_address(f"2001:db8:1:2::{number:x}").unlock(link, "guess").status_code
        for number in range(WRONG_TRIES + 1)
    ]

    assert tries == [403] * WRONG_TRIES + [429]
    outside = visitor.from_address("2001:db8:1:3::1")
    assert outside.unlock(link, "open sesame").status_code == 303


def test_forwarded_address_of_a_stranger_gives_no_more_tries(
    link: dict[str, Any], visitor: Visitor
) -> None:
    tries = [
        visitor.unlock(link, "guess", headers={"X-Forwarded-For": f"192.0.2.{number}"}).status_code
        for number in range(WRONG_TRIES + 1)
    ]

    assert tries[-1] == 429


@pytest.mark.usefixtures("redis_url")
def test_tries_are_shared_by_two_processes(
    link: dict[str, Any], visitor: Visitor, make_app: AppMaker
) -> None:
    other = make_app()
    for _ in range(WRONG_TRIES):
        visitor.unlock(link, "guess")

    assert Visitor(other).unlock(link, "open sesame").status_code == 429


def test_tries_are_limited_while_redis_is_away(
    link: dict[str, Any], make_app: AppMaker, closed_port: int
) -> None:
    alone = Visitor(make_app(REDIS_URL=f"redis://127.0.0.1:{closed_port}/0"))

    tries = [alone.unlock(link, "guess").status_code for _ in range(WRONG_TRIES + 1)]

    assert tries == [403] * WRONG_TRIES + [429]


def test_removed_password_lets_everybody_pass(
    caller: Caller, link: dict[str, Any], visitor: Visitor
) -> None:
    assert visitor.follow(link).status_code == 403

    caller.patch(f"/links/{link['id']}", {"password": None})

    assert visitor.follow(link).status_code == 302


def test_added_password_is_asked_for_at_once(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link()
    assert visitor.follow(link).status_code == 302

    caller.patch(f"/links/{link['id']}", {"password": "open sesame"})

    assert visitor.follow(link).status_code == 403


def test_wrong_password_takes_no_use_of_a_limited_link(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(password="open sesame", max_clicks=1)

    assert visitor.unlock(link, "guess").status_code == 403
    assert visitor.unlock(link, "open sesame").status_code == 303
    assert visitor.unlock(link, "open sesame").status_code == 410


def test_form_larger_than_any_body_answers_413(link: dict[str, Any], visitor: Visitor) -> None:
    response = visitor.follow(link, method="POST", data={"password": "x" * 3_000_000})

    assert response.status_code == 413
    assert response.content_type == "application/problem+json"
