"""The most clicked links are there before anybody asks: in a process that starts, and in Redis."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from api.core.database.routing import Database
from api.links.service import add_clicks
from api.redirects import store
from api.redirects.cache import TargetCache
from api.redirects.service import RedirectService
from api.redirects.warming import MostClicked
from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.shared_redis import SharedRedis
from tests.redirects.test_cache import within
from tests.redirects.visitor import Visitor
from tests.scripting import run_script

Link = dict[str, Any]


def key_of(link: Link) -> str:
    return f"{link['domain']}/{link['slug']}"


def cache_of(app: Flask) -> TargetCache:
    cache: TargetCache = app.extensions["signpost.services"][RedirectService]._cache
    return cache


@pytest.fixture
def clicked(db: Database) -> Callable[[dict[int, Link]], None]:
    """Counts clicks, by their number, and forgets all that were counted before."""

    def count(links: dict[int, Link]) -> None:
        with db.write(0) as session:
            session.execute(text("DELETE FROM link_totals"))
            totals = {
                (int(link["id"]) >> 12 & 1023, int(link["id"])): (clicks, datetime.now(UTC))
                for clicks, link in links.items()
            }
            add_clicks(session, totals)

    return count


@pytest.fixture
def five(owner: Caller, clicked: Callable[[dict[int, Link]], None]) -> list[Link]:
    """Five links, the most clicked first."""
    links = [owner.create_link(f"https://example.com/{number}") for number in range(5)]
    clicked({10 ** (5 - number): link for number, link in enumerate(links)})
    return links


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    slugs: list[str] = []
    read = store.get_target

    def note(session: Any, slot: int, domain: str, slug: str) -> Any:
        slugs.append(slug)
        return read(session, slot, domain, slug)

    monkeypatch.setattr(store, "get_target", note)
    return slugs


@pytest.mark.parametrize("page", [1, 2, 3, 5, 100])
def test_pages_go_from_the_most_clicked_down(db: Database, five: list[Link], page: int) -> None:
    links, found = MostClicked(db, 1000, page), []
    while (targets := links.read()) is not None:
        assert links.read() == targets
        found += [*targets]
        links.advance()

    assert found == [key_of(link) for link in five]


def test_no_more_are_found_than_asked_for(db: Database, five: list[Link]) -> None:
    links, found = MostClicked(db, 3, 2), []
    while (targets := links.read()) is not None:
        found += [*targets]
        links.advance()

    assert found == [key_of(link) for link in five[:3]]


def test_deleted_links_are_left_out_and_end_nothing(
    db: Database, owner: Caller, five: list[Link]
) -> None:
    for link in five[:2]:
        owner.delete(f"/links/{link['id']}")
    links, found = MostClicked(db, 1000, 2), []
    while (targets := links.read()) is not None:
        found += [*targets]
        links.advance()

    assert found == [key_of(link) for link in five[2:]]


def test_a_process_that_starts_loads_the_most_clicked_links(
    make: AppMaker, five: list[Link], asked: list[str]
) -> None:
    app = make(REDIRECT_WARM_ENTRIES="3")

    assert within(5, lambda: len(cache_of(app)) == 3)
    assert cache_of(app).synced
    for link in five[:3]:
        assert Visitor(app).follow(link).headers["Location"] == link["url"]
    assert asked == []
    lives = []
    for link in five[:3]:
        entry = cache_of(app).get(key_of(link))
        assert entry is not None
        lives.append(entry.fresh_until - time.monotonic())
    assert len(set(lives)) == 3
    assert all(25 < life <= 60 for life in lives)


def test_without_redis_loaded_links_outlive_the_database(make: AppMaker, five: list[Link]) -> None:
    app = make(REDIRECT_WARM_ENTRIES="100", REDIS_URL="")

    assert within(5, lambda: len(cache_of(app)) == 5)
    entry = cache_of(app).get(key_of(five[0]))
    assert entry is not None
    assert entry.usable_until > time.monotonic() + 80_000


def test_nothing_is_loaded_where_the_setting_says_so(make: AppMaker, five: list[Link]) -> None:
    app = make(REDIRECT_WARM_ENTRIES="0")

    time.sleep(0.3)
    assert len(cache_of(app)) == 0


def test_no_more_is_loaded_than_the_cache_holds(make: AppMaker, five: list[Link]) -> None:
    app = make(REDIRECT_CACHE_ENTRIES="2")
    assert len(cache_of(app)) == 0
    app = make(REDIRECT_CACHE_ENTRIES="2", REDIRECT_WARM_ENTRIES="5")

    assert within(5, lambda: len(cache_of(app)) == 2)
    assert cache_of(app).get(key_of(five[0])) is not None


def test_a_process_starts_where_the_database_is_away(
    make: AppMaker, closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "api.redirects.warming")
    url = f"postgresql://nobody@127.0.0.1:{closed_port}/none"

    app = make(REDIRECT_WARM_ENTRIES="5", DATABASE_URL=url)

    assert app.test_client().get("/health/live").status_code == 200
    assert within(5, lambda: "no links are loaded at the start" in caplog.text)


class Script:
    """Runs scripts/warm-cache."""

    def __init__(self, environ: dict[str, str]) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._environ = kept | environ

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return run_script("warm-cache", *arguments, env=self._environ | settings)


@pytest.fixture
def script(environ: dict[str, str], shared: SharedRedis) -> Script:
    return Script(environ | {"REDIS_URL": shared.url})


def test_script_fills_redis_for_processes_that_start(
    script: Script,
    make: AppMaker,
    owner: Caller,
    shared: SharedRedis,
    five: list[Link],
    asked: list[str],
) -> None:
    owner.patch(f"/links/{five[3]['id']}", {"password": "open sesame"})
    owner.patch(f"/links/{five[4]['id']}", {"title": "A change"})
    for link in five[:4]:
        shared.let_time_pass(key_of(link))

    done = script.run("--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "dry_run": False,
        "links": 5,
        "shared": 3,
        "protected": 1,
        "changed": 1,
    }
    assert "links" in done.stderr
    assert [shared.holds_copy(key_of(link)) for link in five] == [True] * 3 + [False] * 2
    visitor = Visitor(make())
    for link in five[:3]:
        assert visitor.follow(link).headers["Location"] == link["url"]
    assert asked == []


def test_script_fills_no_more_than_asked_for(
    script: Script, shared: SharedRedis, five: list[Link]
) -> None:
    for link in five:
        shared.let_time_pass(key_of(link))

    done = script.run("--limit", "2")

    assert done.stdout == ("2 links: 2 are in Redis, 0 have a password, 0 were changed just now.\n")
    assert [shared.holds_copy(key_of(link)) for link in five] == [True] * 2 + [False] * 3


def test_script_changes_nothing_in_a_dry_run(
    script: Script, shared: SharedRedis, five: list[Link]
) -> None:
    shared.client.flushall()

    done = script.run("--dry-run", "--json")

    assert json.loads(done.stdout)["links"] == 5
    assert shared.client.keys("*") == []


@pytest.mark.parametrize(
    ("arguments", "changes", "said"),
    [
        (["--limit", "0"], {}, "--limit"),
        (["--limit", "many"], {}, "--limit"),
        ([], {"REDIRECT_SHARED_SECONDS": "0"}, "REDIRECT_SHARED_SECONDS"),
        ([], {"REDIS_URL": "redis://127.0.0.1:1/0"}, "scripts/warm-cache: REDIS_URL: "),
        ([], {"DATABASE_URL": "postgresql://a@127.0.0.1:1/b"}, "scripts/warm-cache: DATABASE_URL"),
    ],
)
def test_script_says_in_a_line_what_is_wrong(
    script: Script, five: list[Link], arguments: list[str], changes: dict[str, str], said: str
) -> None:
    done = script.run(*arguments, **changes)

    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_script_explains_itself(script: Script) -> None:
    done = script.run("--help")

    assert done.returncode == 0
    assert "--limit" in done.stdout
    assert "REDIRECT_SHARED_SECONDS" in done.stdout


def test_counting_a_click_more_writes_no_index(
    db: Database, five: list[Link], clicked: Callable[[dict[int, Link]], None]
) -> None:
    """As long as the order by clicks stays: what is counted all the time must stay cheap."""
    with db.write(0) as session:
        session.execute(text("SELECT pg_stat_reset()"))
    slot, number = int(five[0]["id"]) >> 12 & 1023, int(five[0]["id"])
    for _ in range(50):
        with db.write(0) as session:
            add_clicks(session, {(slot, number): (10, datetime.now(UTC))})

    def updates() -> tuple[int, int]:
        with db.write(0) as session:
            session.execute(text("SELECT pg_stat_force_next_flush()"))
        with db.read(0) as session:
            row = session.execute(
                text(
                    "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
                    " WHERE relname = 'link_totals'"
                )
            ).one()
        return row[0], row[1]

    assert within(5, lambda: updates()[0] >= 50)
    assert updates()[1] >= 48
