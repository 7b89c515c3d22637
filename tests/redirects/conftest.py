from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from api.app import create_app
from api.clicks.records import ClickRecord, read_segment
from config.settings import Settings
from tests.caller import Caller
from tests.redirects.shared_redis import SharedRedis
from tests.redirects.visitor import Visitor

AppMaker = Callable[..., Flask]


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    """A visitor of the application."""
    return Visitor(app)


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
def clicks_of(spool_path: Path) -> Callable[[dict[str, Any]], list[ClickRecord]]:
    """The visits of a link that wait in the spool, the oldest first."""

    def read(link: dict[str, Any]) -> list[ClickRecord]:
        found = [
            record
            for segment in spool_path.glob("*.*")
            if segment.suffix in (".open", ".ready")
            for record in read_segment(segment.read_bytes()).records
            if record.link_id == int(link["id"])
        ]
        return sorted(found, key=lambda record: record.at_ms)

    return read


@pytest.fixture
def redis_url(settings: Settings) -> str:
    """The Redis that the instances share."""
    if settings.redis_url is None:
        pytest.skip("needs Redis: TEST_REDIS_URL, which scripts/test sets")
    return settings.redis_url


@pytest.fixture(scope="session")
def own_redis(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedRedis]:
    """A Redis of these tests only."""
    server = SharedRedis(tmp_path_factory.mktemp("redis") / "valkey", settings)
    yield server
    server.stop()


@pytest.fixture
def shared(own_redis: SharedRedis) -> SharedRedis:
    """An empty Redis."""
    own_redis.client.flushall()
    return own_redis


@pytest.fixture
def make(make_app: AppMaker, shared: SharedRedis) -> AppMaker:
    """Makes processes that share that Redis."""
    return lambda **changes: make_app(**({"REDIS_URL": shared.url} | changes))


@pytest.fixture
def owner(make: AppMaker, caller: Caller) -> Caller:
    """Makes and changes links in one of them."""
    return Caller(make(), caller.identity, caller.workspace_id, caller.key)


@pytest.fixture
def closed_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
