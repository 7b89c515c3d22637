"""A server is replaced under load, in each way that gunicorn has, and nobody notices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from api.identity.service import IdentityService
from tests.rollout.direct import DirectLoad, DirectServer


@pytest.fixture(scope="module")
def server(
    environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DirectServer]:
    settings = {name: environ[name] for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")}
    made = DirectServer(tmp_path_factory.mktemp("rollout") / "home", settings)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def load(server: DirectServer, identity: IdentityService) -> Iterator[DirectLoad]:
    workspace = identity.create_workspace("Rollout").id
    _, key = identity.create_key(workspace, name="Rollout")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    made = DirectLoad(server, headers, [server.create_link(headers) for _ in range(4)])
    time.sleep(0.5)
    try:
        yield made
    finally:
        made.end()
        print(made.report())  # noqa: T201 - pytest shows it where a test fails


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(DirectServer.renew, id="HUP"),
        pytest.param(DirectServer.upgrade, id="USR2", marks=pytest.mark.slow),
    ],
)
def test_replaced_workers_lose_nothing(
    server: DirectServer,
    load: DirectLoad,
    way: Callable[[DirectServer], None],
    record_property: Callable[[str, object], None],
) -> None:
    before = server.master
    way(server)
    time.sleep(0.5)
    load.end()
    record_property("rollout", f"{load.report()}; longest {load.longest_seconds:.2f} s")
    assert load.failures == []
    assert {"GET", "HEAD", "POST", "PATCH", "DELETE"} <= set(load.answered)
    assert (server.master == before) is (way is DirectServer.renew)
