from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from api.app import create_app
from config.settings import Settings
from tests.redirects.visitor import Visitor
from tests.services import postgres, redis
from tests.services.certificates import Authority
from tests.services.cluster import PrivateCluster
from tests.services.postgres import PrivatePostgres
from tests.services.rabbitmq import PrivateRabbitMQ
from tests.services.redis import PrivateRedis

SiteMaker = Callable[..., Visitor]
BOOT_SECONDS = 120
PROXY, STRANGER = "10.0.0.1", "198.51.100.7"


@pytest.fixture
def site(environ: dict[str, str]) -> Iterator[SiteMaker]:
    """Makes a visitor of an application with other settings."""
    with ExitStack() as stack:

        def make(**changes: str) -> Visitor:
            app = create_app(Settings.load(environ | changes))
            runtime = app.extensions["signpost"]
            runtime.start_worker()
            stack.callback(runtime.stop_worker)
            return Visitor(app, address=STRANGER)

        yield make


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that has issued no server's certificate."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="session")
def database(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrivatePostgres]:
    if not postgres.available():
        pytest.skip(f"no PostgreSQL with TLS: {postgres.INSTALL}")
    server = PrivatePostgres(_open_folder(tmp_path_factory, "postgres"), authority)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def cache(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    if not redis.available():
        pytest.skip(f"no Redis with TLS: {redis.INSTALL}")
    server = PrivateRedis(tmp_path_factory.mktemp("redis"), authority)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def cluster(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrivateCluster]:
    """A cluster that asks for a password, too."""
    if not redis.available():
        pytest.skip(f"no Redis with TLS: {redis.INSTALL}")
    made = PrivateCluster(
        tmp_path_factory.mktemp("cluster"), authority=authority, password="s3cret, and more"
    )
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def queue(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrivateRabbitMQ]:
    server = PrivateRabbitMQ(tmp_path_factory.mktemp("rabbitmq"), authority)
    server.start()
    deadline = time.monotonic() + BOOT_SECONDS
    while not server.ready():
        assert server.exit_status() is None and time.monotonic() < deadline, server.complaint()
        time.sleep(0.1)
    yield server
    server.stop()


def _open_folder(factory: pytest.TempPathFactory, name: str) -> Path:
    """A folder that a server under another account reaches."""
    folder = factory.mktemp(name)
    for path in (folder, *list(folder.parents)[:2]):
        path.chmod(0o711)
    return folder
