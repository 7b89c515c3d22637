"""Statistics are kept for a while, by all that was asked, and never against the truth for long."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from flask import Flask

from api.app import create_app
from api.core.cache import AnswerCache, CachedAnswer
from api.core.database.routing import Database
from api.core.errors import Invalid, Unavailable
from api.stats.cached import StatsCache, key_of
from api.stats.periods import period_of
from api.stats.service import StatsQuery
from config.settings import Settings
from tests.caller import Caller
from tests.redirects.proxy import Relay
from tests.stats.samples import count, make_click

OLD = {"from": "2026-03-01", "to": "2026-03-31"}
MOMENT = datetime(2026, 3, 29, 21, 50, tzinfo=UTC)
NOW = datetime(2026, 5, 6, 12, 7, tzinfo=UTC)
DEFAULTS = {"interval": "day", "timezone": "UTC", "bots": "exclude", "limit": 50}

AppMaker = Callable[..., Flask]


@pytest.fixture
def redis_url(settings: Settings) -> str:
    """A database of this worker: elsewhere all answers are evicted by tests of other things."""
    if settings.redis_url is None:
        pytest.skip("needs Redis: TEST_REDIS_URL, which scripts/test sets")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return urlsplit(settings.redis_url)._replace(path=f"/{1 + int(worker) % 15}").geturl()


@pytest.fixture
def app(make_app: AppMaker, redis_url: str) -> Flask:
    return make_app(REDIS_URL=redis_url)


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def relay(redis_url: str) -> Iterator[Relay]:
    """A way to Redis that can be cut."""
    url = urlsplit(redis_url)
    with Relay(url.hostname or "127.0.0.1", url.port or 6379) as relay:
        yield relay


@pytest.fixture
def make_app(environ: dict[str, str]) -> Iterator[AppMaker]:
    """Makes further instances of the application, as other processes would be."""
    with ExitStack() as stack:

        def make(**changes: str) -> Flask:
            application = create_app(Settings.load(environ | changes))
            runtime = application.extensions["signpost"]
            runtime.start_worker()
            stack.callback(runtime.stop_worker)
            return application

        yield make


@pytest.fixture
def answers(redis_url: str) -> AnswerCache:
    return AnswerCache(Flask("cache"), redis_url, 0.5, local_entries=8)


def within(app: Flask, caller: Caller) -> Caller:
    """The same key, used with another process."""
    return Caller(app, caller.identity, caller.workspace_id, caller.key)


def cache_of(app: Flask) -> StatsCache:
    cache: StatsCache = app.extensions["signpost.services"][StatsCache]
    return cache


def visit(db: Database, caller: Caller, link: dict[str, Any], **known: Any) -> None:
    """One more click in the past, which no new click would be."""
    known = {"clicked_at": MOMENT} | known
    count(db, [make_click(link_id=int(link["id"]), workspace_id=caller.workspace_id, **known)])


def clicks(caller: Caller, path: str, **query: Any) -> int:
    response = caller.get(path, query_string=OLD | query)
    assert response.status_code == 200, response.text
    return int(response.json["total"]["clicks"])


def new_group() -> str:
    return f"test:{time.monotonic_ns()}"


def paths(link: dict[str, Any]) -> tuple[str, str]:
    return f"/links/{link['id']}/stats", "/stats"


def test_answer_is_kept_until_its_workspace_is_evicted(
    app: Flask, caller: Caller, db: Database
) -> None:
    link = caller.create_link()
    for path in paths(link):
        visit(db, caller, link)
        before = clicks(caller, path)
        visit(db, caller, link)
        assert clicks(caller, path) == before
        assert clicks(caller, path, bots="include") == before + 1

        cache_of(app).evict_workspace(caller.workspace_id)
        assert clicks(caller, path) == before + 1


def test_processes_share_what_they_keep_and_what_they_evict(
    caller: Caller, db: Database, make_app: AppMaker, redis_url: str
) -> None:
    link = caller.create_link()
    first, second = (within(make_app(REDIS_URL=redis_url), caller) for _ in range(2))
    path = paths(link)[0]
    visit(db, caller, link)
    assert clicks(first, path) == 1
    visit(db, caller, link)
    assert clicks(second, path) == 1

    assert cache_of(second.app).evict_workspace(caller.workspace_id)
    assert clicks(first, path) == 2
    visit(db, caller, link)
    assert clicks(second, path) == 2
    assert cache_of(second.app).evict_all()
    assert clicks(first, path) == 3


def test_answers_are_of_one_link_and_one_workspace(
    caller: Caller, other_caller: Caller, db: Database
) -> None:
    link, other = caller.create_link(), caller.create_link()
    visit(db, caller, link)
    assert clicks(caller, paths(link)[0]) == clicks(caller, "/stats") == 1
    assert clicks(caller, paths(other)[0]) == 0
    assert clicks(other_caller, "/stats") == 0
    assert other_caller.get(paths(link)[0], query_string=OLD).status_code == 404


def test_deleted_link_is_gone_although_its_answer_is_kept(caller: Caller) -> None:
    link = caller.create_link()
    path = paths(link)[0]
    assert clicks(caller, path) == 0
    assert caller.delete(f"/links/{link['id']}").status_code == 204
    assert caller.get(path, query_string=OLD).status_code == 404


def test_known_answer_is_304(app: Flask, caller: Caller, db: Database) -> None:
    link = caller.create_link()
    for path in paths(link):
        cache_of(app).evict_workspace(caller.workspace_id)
        response = caller.get(path, query_string=OLD)
        etag = response.headers["ETag"]
        assert etag.startswith('"')
        known = {"If-None-Match": etag}

        unchanged = caller.get(path, query_string=OLD, headers=known)
        assert (unchanged.status_code, unchanged.data) == (304, b"")
        for name in ("ETag", "Vary"):
            assert unchanged.headers[name] == response.headers[name]
        assert unchanged.headers["Cache-Control"].startswith("private, max-age=")

        visit(db, caller, link)
        cache_of(app).evict_workspace(caller.workspace_id)
        changed = caller.get(path, query_string=OLD, headers=known)
        assert (changed.status_code, changed.json["total"]["clicks"] > 0) == (200, True)
        assert changed.headers["ETag"] != etag


@pytest.mark.parametrize(
    ("ended", "lives", "client_keeps"),
    [
        (timedelta(0), 5, 5),
        (timedelta(minutes=50), 5, 5),
        (timedelta(hours=3), 60, 60),
        (timedelta(days=3), 3600, 60),
    ],
)
def test_answer_lives_the_longer_the_less_it_can_change(
    caller: Caller, redis_url: str, ended: timedelta, lives: int, client_keeps: int
) -> None:
    end = datetime.now(UTC) - ended
    response = caller.get("/stats", query_string={"to": end.isoformat()})

    max_age = int(response.headers["Cache-Control"].removeprefix("private, max-age="))
    assert client_keeps - 3 <= max_age <= client_keeps
    with redis.Redis.from_url(redis_url) as client:
        pattern = f"signpost:answers:v1:workspace:{caller.workspace_id}:*"
        (key,) = client.scan_iter(pattern, 1000)
        assert lives - 3 <= client.ttl(key) <= lives


def test_two_keys_in_one_browser_do_not_share_an_answer(caller: Caller) -> None:
    assert caller.get("/stats").headers["Vary"] == "Authorization, X-Api-Key"


def test_each_field_of_a_question_is_in_its_key() -> None:
    # Whoever adds a field that changes answers needs to do nothing; this says so.
    known: dict[str, Any] = {field.name: f"one {field.name}" for field in fields(StatsQuery)}
    period = period_of(MOMENT - timedelta(days=1), MOMENT, "day", "UTC", NOW)
    later = period_of(MOMENT - timedelta(days=1), MOMENT + timedelta(hours=1), "day", "UTC", NOW)
    sooner = period_of(MOMENT - timedelta(days=2), MOMENT, "day", "UTC", NOW)
    keys = [
        key_of(1, "link:1", known, period),
        key_of(2, "link:1", known, period),
        key_of(1, "link:2", known, period),
        key_of(1, "workspace", known, period),
        key_of(1, "link:1", known, later),
        key_of(1, "link:1", known, sooner),
    ]
    for name in set(known) - {"start", "end"}:
        keys.append(key_of(1, "link:1", known | {name: "another"}, period))
        keys.append(key_of(1, "link:1", {**known, name: None}, period))
    assert len(set(keys)) == len(keys)


def asked_at(
    answers: AnswerCache, workspace: int, now: datetime, **query: Any
) -> tuple[CachedAnswer, dict[str, Any] | None]:
    """The answer, and what was computed for it, if anything was."""
    computed: list[dict[str, Any]] = []

    def compute(asked: dict[str, Any]) -> bytes:
        computed.append(asked)
        return b"{}"

    cache = StatsCache(answers, 5, lambda: now)
    answer = cache.answer(workspace, "workspace", DEFAULTS | query, compute)
    return answer, computed[0] if computed else None


def test_questions_of_one_quarter_of_an_hour_are_one(answers: AnswerCache) -> None:
    workspace = time.monotonic_ns()
    _, computed = asked_at(answers, workspace, NOW)
    assert computed is not None
    assert computed["end"] == NOW.replace(minute=15)
    assert computed["start"] == NOW.replace(minute=0) - timedelta(days=30)
    for minute, again in ((1, False), (14, False), (16, True)):
        _, computed = asked_at(answers, workspace, NOW.replace(minute=minute))
        assert (computed is not None) == again


def test_times_that_come_to_the_same_quarters_are_one_question(answers: AnswerCache) -> None:
    workspace = time.monotonic_ns()
    start, end = NOW - timedelta(days=4), NOW - timedelta(days=3)
    assert asked_at(answers, workspace, NOW, start=start, end=end)[1] is not None
    other = {"start": start.replace(minute=1), "end": end.replace(minute=14, second=59)}
    assert asked_at(answers, workspace, NOW, **other)[1] is None
    # Within the same quarters, but no question: it must not find the answer to one.
    with pytest.raises(Invalid):
        asked_at(answers, workspace, NOW, start=end, end=end)


def test_equal_questions_at_once_are_computed_once(answers: AnswerCache) -> None:
    group, computed, bodies = new_group(), [], []
    gate = threading.Barrier(32)

    def compute() -> bytes:
        computed.append(1)
        time.sleep(0.3)
        return b"[1]"

    def ask() -> None:
        gate.wait()
        bodies.append(answers.answer(group, "question", 60, compute).body)

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(computed), bodies) == (1, [b"[1]"] * 32)


def test_what_fails_is_raised_to_all_and_not_kept(answers: AnswerCache) -> None:
    group, raised = new_group(), []
    gate = threading.Barrier(4)

    def fail() -> bytes:
        time.sleep(0.2)
        raise Unavailable

    def ask() -> None:
        gate.wait()
        try:
            answers.answer(group, "question", 60, fail)
        except Unavailable:
            raised.append(1)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(raised) == 4
    assert answers.answer(group, "question", 60, lambda: b"[2]").body == b"[2]"


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_planted_values_run_nothing_and_are_no_answers(
    answers: AnswerCache, redis_url: str, tmp_path: Path
) -> None:
    group, mark = new_group(), tmp_path / "mark"
    answers.answer(group, "question", 60, lambda: b"[1]")
    planted = pickle.dumps(Planted(mark))
    with redis.Redis.from_url(redis_url) as client:
        (key,) = client.scan_iter(f"signpost:answers:v1:{group}:*", 1000)
        good = client.get(key)
        for value in (b"!" + planted, planted, b"", b"7", good[:-1], good.replace(b"[1]", b"[3]")):
            client.set(key, value)
            assert answers.answer(group, "question", 60, lambda: b"[2]").body == b"[2]"
            assert client.get(key) != value
        # The generation is a name and nothing else.
        client.set(f"signpost:answers:v1:generation:{group}", b"!" + planted)
        assert answers.answer(group, "question", 60, lambda: b"[4]").body == b"[4]"
    assert not mark.exists()


@pytest.mark.parametrize("redis_is", ["absent", "down"])
def test_without_redis_answers_are_kept_in_the_process(
    caller: Caller,
    db: Database,
    make_app: AppMaker,
    closed_port: int,
    redis_is: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = f"redis://127.0.0.1:{closed_port}/0" if redis_is == "down" else ""
    own = within(make_app(REDIS_URL=url), caller)
    link = caller.create_link()
    path = paths(link)[0]
    with caplog.at_level(logging.INFO, "api.core.dependencies"):
        assert clicks(own, path) == 0
        visit(db, caller, link)
        assert clicks(own, path) == 0
        assert not cache_of(own.app).evict_workspace(caller.workspace_id)
        assert clicks(own, path) == 1
        visit(db, caller, link)
        assert not cache_of(own.app).evict_all()
        assert clicks(own, path) == 2
        for day in range(1, 20):
            clicks(own, path, to=f"2026-04-{day:02}")
    logged = [text for text in caplog.messages if "answers are cached" in text]
    assert len(logged) == (1 if redis_is == "down" else 0)
    # Others cannot evict what is kept here, so it is not kept for an hour.
    visit(db, caller, link)
    deadline = time.monotonic() + 8
    while clicks(own, path) != 3:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_eviction_while_redis_is_away_is_made_up_for(redis_url: str, relay: Relay) -> None:
    group = new_group()
    url = f"redis://127.0.0.1:{relay.port}{urlsplit(redis_url).path}"
    near = AnswerCache(Flask("near"), url, 0.5, local_entries=8)
    far = AnswerCache(Flask("far"), redis_url, 0.5, local_entries=8)
    assert near.answer(group, "question", 3600, lambda: b"[1]").body == b"[1]"

    relay.cut()
    assert not near.evict(group)
    assert near.answer(group, "question", 3600, lambda: b"[2]").body == b"[2]"
    assert far.answer(group, "question", 3600, lambda: b"[3]").body == b"[1]"

    relay.restore()
    time.sleep(2.2)
    assert near.answer(group, "question", 3600, lambda: b"[4]").body == b"[4]"
    assert far.answer(group, "question", 3600, lambda: b"[5]").body == b"[4]"


def test_hanging_redis_costs_a_bounded_wait_once(
    caller: Caller, make_app: AppMaker, relay: Relay
) -> None:
    url = f"redis://127.0.0.1:{relay.port}/0"
    own = within(make_app(REDIS_URL=url, REDIS_TIMEOUT_SECONDS="0.2"), caller)
    assert clicks(own, "/stats") == 0
    relay.hang()
    started = time.monotonic()
    for day in range(1, 6):
        assert clicks(own, "/stats", to=f"2026-04-{day:02}") == 0
    assert time.monotonic() - started < 1.5


def test_process_keeps_a_bounded_number() -> None:
    cache = AnswerCache(Flask("cache"), None, 0.5, local_entries=4)
    computed: list[int] = []

    def ask(number: int) -> None:
        cache.answer("group", str(number), 60, lambda: str(computed.append(number)).encode())

    for number in range(50):
        ask(number)
    ask(0)
    assert computed == [*range(50), 0]


def test_caching_can_be_switched_off(caller: Caller, db: Database, make_app: AppMaker) -> None:
    own = within(make_app(STATS_CACHE_SECONDS="0"), caller)
    link = caller.create_link()
    for number in range(3):
        assert clicks(own, paths(link)[0]) == number
        visit(db, caller, link)
