"""Servers are killed and replaced one after the other, and nobody who asks the gateway notices."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.gateway.client import ApiClient
from tests.gateway.load import Load
from tests.gateway.system import System


@pytest.fixture
def load(system: System, api: ApiClient) -> Iterator[Load]:
    slugs = [api.create_link()["slug"] for _ in range(4)]
    made = Load(system.gateway, api.headers, slugs, pause_seconds=0.01)
    time.sleep(0.5)
    try:
        yield made
    finally:
        made.end()
        print(made.report())  # noqa: T201 - pytest shows it where a test fails


def finish(load: Load) -> None:
    time.sleep(0.5)
    load.end()
    assert {"GET", "HEAD", "POST", "PATCH", "DELETE"} <= set(load.answered)


def test_killed_servers_lose_nothing_that_may_be_sent_twice(system: System, load: Load) -> None:
    killed = (system.redirects[0], system.apis[0])
    for server in killed:
        server.kill()
    time.sleep(0.5)
    for server in killed:
        server.begin()
    finish(load)
    assert load.lost_idempotent == []
    # Of the others no more than were under way.
    assert len(load.failures) <= load.callers


def test_replaced_servers_lose_nothing(system: System, load: Load) -> None:
    """Of each service one gets new workers, while the other stops and starts."""
    renewed = (system.redirects[0], system.apis[0])
    stopped = (system.redirects[1], system.apis[1])
    for server in stopped:
        server.ask_to_stop()
    for server in renewed:
        server.renew()
    for server in stopped:
        server.stop()
        server.begin()
    for server in stopped:
        server.wait()
    finish(load)
    assert load.failures == []
