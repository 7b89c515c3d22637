"""What a visit leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from api.clicks.recorder import ClickRecorder
from api.clicks.records import FLAG_HEAD, FLAG_PREFETCH, ClickRecord
from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.visitor import Visitor

ClicksOf = Callable[[dict[str, Any]], list[ClickRecord]]


def test_visit_is_recorded_with_what_the_request_tells(
    caller: Caller, visitor: Visitor, clicks_of: ClicksOf
) -> None:
    link = caller.create_link()

    visitor.open(
        f"/{link['slug']}?utm_source=mail&x=%20",
        headers={
            "User-Agent": "Agent/1.0",
            "Referer": "https://news.example/item",
            "Accept-Language": "de-CH, en;q=0.5",
        },
    )

    (click,) = clicks_of(link)
    assert click.link_id == int(link["id"])
    assert click.workspace_id == caller.workspace_id
    assert click.address == visitor.address
    assert click.user_agent == "Agent/1.0"
    assert click.referrer == "https://news.example/item"
    assert click.language == "de-CH, en;q=0.5"
    assert click.query == "utm_source=mail&x=%20"
    assert click.flags == 0


def test_each_visit_is_one_record(caller: Caller, visitor: Visitor, clicks_of: ClicksOf) -> None:
    link = caller.create_link()

    for _ in range(5):
        visitor.follow(link)

    assert len(clicks_of(link)) == 5


def test_head_is_recorded_as_such(caller: Caller, visitor: Visitor, clicks_of: ClicksOf) -> None:
    link = caller.create_link()

    visitor.follow(link, method="HEAD")

    assert [click.flags for click in clicks_of(link)] == [FLAG_HEAD]


@pytest.mark.parametrize(
    "header",
    [
        {"Sec-Purpose": "prefetch"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
        {"X-Moz": "prefetch"},
        {"X-Purpose": "preview"},
        {"Purpose": "Preview"},
    ],
)
def test_prefetch_is_recorded_as_such(
    caller: Caller, visitor: Visitor, clicks_of: ClicksOf, header: dict[str, str]
) -> None:
    link = caller.create_link()

    assert visitor.follow(link, headers=header).status_code == 302

    assert [click.flags for click in clicks_of(link)] == [FLAG_PREFETCH]


def test_no_redirect_leaves_no_click(caller: Caller, visitor: Visitor, clicks_of: ClicksOf) -> None:
    disabled = caller.create_link(state="disabled")
    expired = caller.create_link(expires_at="2026-01-02T00:00:00Z")
    used_up = caller.create_link(max_clicks=1)
    visitor.follow(used_up)

    assert visitor.follow(disabled).status_code == 404
    assert visitor.follow(expired).status_code == 410
    assert visitor.follow(used_up).status_code == 410
    assert visitor.follow(disabled, method="PUT").status_code == 405

    assert clicks_of(disabled) == clicks_of(expired) == []
    assert len(clicks_of(used_up)) == 1


def test_password_page_is_no_click_and_the_redirect_after_it_is_one(
    caller: Caller, visitor: Visitor, clicks_of: ClicksOf
) -> None:
    link = caller.create_link(password="pw")

    visitor.by_browser().follow(link)
    visitor.follow(link)
    visitor.unlock(link, "wrong")
    assert clicks_of(link) == []

    visitor.unlock(link, "pw")
    assert len(clicks_of(link)) == 1
    assert "pw" not in clicks_of(link)[0].query


def test_click_is_written_before_the_answer(
    caller: Caller, visitor: Visitor, clicks_of: ClicksOf, app: Flask
) -> None:
    link = caller.create_link()
    seen: list[int] = []
    app.after_request_funcs.setdefault("redirects", []).append(
        lambda response: (seen.append(len(clicks_of(link))), response)[1]
    )
    try:
        visitor.follow(link)
    finally:
        app.after_request_funcs["redirects"].pop()

    assert seen == [1]


def test_full_disk_stops_no_redirect(
    caller: Caller, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    link = caller.create_link()
    monkeypatch.setattr(ClickRecorder, "record", refuse)

    assert visitor.follow(link).status_code == 302


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "recorded"),
    [
        ("", "203.0.113.1", "192.0.2.1", "203.0.113.1"),
        ("10.0.0.0/8", "203.0.113.1", "192.0.2.1", "203.0.113.1"),
        ("10.0.0.0/8", "10.1.2.3", "192.0.2.1", "192.0.2.1"),
        ("10.0.0.0/8", "10.1.2.3", "192.0.2.66, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.0/8", "10.1.2.3", "192.0.2.1, 10.9.9.9", "192.0.2.1"),
        ("10.0.0.0/8", "10.1.2.3", "192.0.2.1:4711", "192.0.2.1"),
        ("10.0.0.0/8", "10.1.2.3", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.0/8", "::ffff:10.1.2.3", "192.0.2.1", "192.0.2.1"),
        ("10.0.0.0/8", "10.1.2.3", "nonsense", "10.1.2.3"),
        ("10.0.0.0/8", "10.1.2.3", "", "10.1.2.3"),
        ("10.0.0.0/8,127.0.0.1", "", "192.0.2.1", "192.0.2.1"),
    ],
)
def test_forwarded_address_counts_only_from_trusted_proxies(
    caller: Caller,
    make_app: AppMaker,
    clicks_of: ClicksOf,
    trusted: str,
    peer: str,
    forwarded: str,
    recorded: str,
) -> None:
    visitor = Visitor(make_app(TRUSTED_PROXIES=trusted), address=peer)
    link = caller.create_link()

    visitor.follow(link, headers={"X-Forwarded-For": forwarded})

    assert [click.address for click in clicks_of(link)] == [recorded]


def test_headers_of_any_bytes_are_recorded(
    caller: Caller, visitor: Visitor, clicks_of: ClicksOf
) -> None:
    link = caller.create_link()

    response = visitor.open(
        f"/{link['slug']}?\xff%00",
        headers={"User-Agent": "\xc3\xa9\xff" * 3000, "Referer": "javascript:alert(1)"},
    )

    assert response.status_code == 302
    assert len(clicks_of(link)) == 1
