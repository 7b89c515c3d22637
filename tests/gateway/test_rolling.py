"""Servers are killed and replaced one after the other, and nobody who asks the gateway notices."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest

from tests.gateway.client import ApiClient
from tests.gateway.load import Load
from tests.gateway.system import Server, System


@pytest.fixture
def load(system: System, api: ApiClient) -> Iterator[Load]:
    made = Load(system.gateway, api.headers, [api.create_link()["slug"] for _ in range(4)])
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
    time.sleep(1)
    start_together(killed)
    finish(load)
    assert load.lost_idempotent == []
    # Of the others no more than were under way.
    assert len(load.failures) <= load.callers


def test_replaced_servers_lose_nothing(system: System, load: Load) -> None:
    for server in system.servers:
        server.renew()
    time.sleep(3)  # until the last of the old workers are gone
    stopped = (system.redirects[1], system.apis[1])
    for server in stopped:
        server.stop()
    start_together(stopped)
    finish(load)
    assert load.failures == []


def start_together(servers: Sequence[Server]) -> None:
    for server in servers:
        server.begin()
    for server in servers:
        server.wait()
