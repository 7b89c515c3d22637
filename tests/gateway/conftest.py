from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.identity.service import IdentityService
from tests.gateway.client import ApiClient
from tests.gateway.system import System
from tests.services import nginx
from tests.services.certificates import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if not nginx.available():
        pytest.skip(f"no nginx: {nginx.INSTALL}")
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def started(
    authority: Authority, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """One for all tests of this process: it takes seconds to start."""
    settings = {name: environ[name] for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")}
    settings["LIVE_HEARTBEAT_SECONDS"] = "0.3"
    made = System(tmp_path_factory.mktemp("system"), authority, settings)
    with made.running() as running:
        yield running


@pytest.fixture
def system(started: System) -> System:
    """The same, with all servers ready: a test before may have left some of them starting, and
    where that is both of a kind the gateway answers 502, and is right."""
    for server in started.servers:
        server.wait()
    return started


@pytest.fixture(scope="session")
def api(started: System, identity: IdentityService) -> ApiClient:
    workspace = identity.create_workspace("Gateway").id
    _, key = identity.create_key(workspace, name="Gateway")
    return ApiClient(started.gateway, key)
