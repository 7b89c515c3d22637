"""A change and those who read the old link in the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from api.redirects import store
from api.redirects.cache import Target
from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.shared_redis import SharedRedis
from tests.redirects.test_cache import within
from tests.redirects.visitor import Visitor


@pytest.fixture
def change_while_read(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[], Any]], None]:
    """Makes a change after the next read of the old link and before what follows it."""

    def arrange(change: Callable[[], Any]) -> None:
        read = store.get_target

        def read_then_change(*arguments: Any) -> Target | None:
            monkeypatch.setattr(store, "get_target", read)
            target = read(*arguments)
            change()
            return target

        monkeypatch.setattr(store, "get_target", read_then_change)

    return arrange


def test_an_old_link_that_was_read_before_a_change_is_not_shared_after_it(
    owner: Caller,
    make: AppMaker,
    shared: SharedRedis,
    change_while_read: Callable[[Callable[[], Any]], None],
) -> None:
    link = owner.create_link("https://example.com/old")
    key = f"sign.test/{link['slug']}"
    shared.let_time_pass(key)
    reader = Visitor(make())
    url = {"url": "https://example.com/new"}
    change_while_read(lambda: owner.patch(f"/links/{link['id']}", url))

    assert reader.follow(link).headers["Location"].endswith("/old")

    assert shared.held(key) == b"-"
    assert Visitor(make()).follow(link).headers["Location"].endswith("/new")
    assert within(0.5, lambda: reader.follow(link).headers["Location"].endswith("/new"))


def test_an_old_link_does_not_replace_the_copy_of_the_new_one(
    owner: Caller,
    make: AppMaker,
    shared: SharedRedis,
    change_while_read: Callable[[Callable[[], Any]], None],
) -> None:
    """The tombstone has gone, and another process has shared the new link meanwhile."""
    link = owner.create_link("https://example.com/old")
    key = f"sign.test/{link['slug']}"
    shared.let_time_pass(key)
    late = Visitor(make())

    def change() -> None:
        owner.patch(f"/links/{link['id']}", {"url": "https://example.com/new"})
        shared.let_time_pass(key)
        assert Visitor(make()).follow(link).headers["Location"].endswith("/new")
        assert shared.holds_copy(key)

    change_while_read(change)

    assert late.follow(link).headers["Location"].endswith("/old")

    assert Visitor(make()).follow(link).headers["Location"].endswith("/new")


def test_a_miss_that_was_read_before_a_creation_is_not_shared_after_it(
    owner: Caller,
    make: AppMaker,
    change_while_read: Callable[[Callable[[], Any]], None],
) -> None:
    slug = f"raced-{owner.workspace_id}"
    change_while_read(lambda: owner.create_link(slug=slug))

    assert Visitor(make()).open(f"/{slug}").status_code == 404

    assert Visitor(make()).open(f"/{slug}").status_code == 302


def test_readers_and_a_busy_writer_agree_in_the_end(
    owner: Caller, make: AppMaker, shared: SharedRedis
) -> None:
    """Many processes read while a link is changed again and again; tombstones end early."""
    link = owner.create_link("https://example.com/0")
    key = f"sign.test/{link['slug']}"
    ended = threading.Event()
    errors: list[str] = []

    def read(app: Flask) -> None:
        visitor, seen = Visitor(app), 0
        while not ended.is_set():
            shared.let_time_pass(key) if seen % 3 == 0 else None
            number = int(visitor.follow(link).headers["Location"].rpartition("/")[2])
            if number < seen - 1:  # the eviction of the last change may be on its way
                errors.append(f"{number} after {seen}")
            seen = max(seen, number)

    threads = [threading.Thread(target=read, args=(make(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(1, 60):
        owner.patch(f"/links/{link['id']}", {"url": f"https://example.com/{number}"})
    ended.set()
    for thread in threads:
        thread.join(20)

    shared.let_time_pass(key)
    assert errors == []
    assert Visitor(make()).follow(link).headers["Location"].endswith("/59")
