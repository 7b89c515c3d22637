"""Instances of the application with plans, as processes that share a Redis and a database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from flask import Flask

from api.app import create_app
from api.identity.service import IdentityService
from config.settings import Settings
from tests.caller import Caller
from tests.redirects.shared_redis import SharedRedis

PLANS = {
    "tiny": {
        "reads_per_minute": 5,
        "writes_per_minute": 3,
        "api_calls_per_day": 100,
        "links_per_month": 4,
    },
    "days": {"api_calls_per_day": 3},
    "links": {"links_per_month": 10},
}
AppMaker = Callable[..., Flask]


@pytest.fixture(scope="session")
def own_redis(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedRedis]:
    """A Redis of these tests only."""
    server = SharedRedis(tmp_path_factory.mktemp("redis") / "valkey", settings)
    yield server
    server.stop()


@pytest.fixture
def make(environ: dict[str, str], own_redis: SharedRedis) -> Iterator[AppMaker]:
    """Makes instances that share a Redis, unless `REDIS_URL` is another."""
    with ExitStack() as stack:

        def make(**changes: str) -> Flask:
            plans = {"PLANS": json.dumps(PLANS), "REDIS_URL": own_redis.url}
            application = create_app(Settings.load(environ | plans | changes))
            runtime = application.extensions["signpost"]
            runtime.start_worker()
            stack.callback(runtime.stop_worker)
            return application

        yield make


@pytest.fixture
def caller_of(identity: IdentityService, make: AppMaker) -> Callable[..., Caller]:
    """Makes a caller of a new workspace with a plan."""

    def caller_of(plan: str | None, app: Flask | None = None) -> Caller:
        caller = Caller.of_new_workspace(app or make(), identity)
        if plan is not None:
            identity.set_plan(caller.workspace_id, plan)
        return caller

    return caller_of


def at(caller: Caller, app: Flask) -> Caller:
    """The same caller, of another instance."""
    return replace(caller, app=app)
