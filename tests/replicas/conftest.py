from __future__ import annotations

from collections.abc import Iterator

import pytest

from config.settings import Settings
from tests.redirects.shared_redis import SharedRedis
from tests.replicas.site import Site
from tests.services.replication import Replicated, replicated


@pytest.fixture(scope="session")
def own_redis(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedRedis]:
    """A Redis of these tests only."""
    server = SharedRedis(tmp_path_factory.mktemp("redis") / "valkey", settings)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    """A primary and two standbys, which tests leave as they found them."""
    with replicated(tmp_path_factory.mktemp("replicated") / "servers") as made:
        yield made


@pytest.fixture
def site(
    servers: Replicated, own_redis: SharedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """An installation over them, with an empty Redis."""
    own_redis.client.flushall()
    made = Site(servers, own_redis, str(tmp_path_factory.mktemp("home")))
    try:
        yield made
    finally:
        made.close()
