from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection

import pytest
from flask import Flask

from api.app import create_app
from config.settings import Settings
from tests.redirects.wire.server import WebServer, side_by_side
from tests.services.cluster import PrivateCluster

AppMaker = Callable[..., Flask]
PLANS = {"five": {"reads_per_minute": 5}}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateCluster]:
    """Three nodes, each with a third of the keys."""
    with _running(PrivateCluster(tmp_path_factory.mktemp("cluster"))) as made:
        yield made


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateCluster]:
    """Three nodes, each with a replica."""
    with _running(PrivateCluster(tmp_path_factory.mktemp("guarded"), replicas=True)) as made:
        yield made


@contextmanager
def _running(made: PrivateCluster) -> Iterator[PrivateCluster]:
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def servers(
    environ: dict[str, str], cluster: PrivateCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[WebServer]]:
    """Two web servers that share the cluster and the database."""
    settings = environ | {
        "REDIS_URL": cluster.url,
        "PLANS": json.dumps(PLANS),
        "PASSWORD_TRIES_PER_MINUTE": "3",
    }
    with side_by_side(tmp_path_factory.mktemp("servers"), settings) as made:
        yield made


@pytest.fixture
def make_app(environ: dict[str, str]) -> Iterator[AppMaker]:
    """Makes instances of the application, as processes would be."""
    with ExitStack() as stack:

        def make(**changes: str) -> Flask:
            application = create_app(Settings.load(environ | changes))
            runtime = application.extensions["signpost"]
            runtime.start_worker()
            stack.callback(runtime.stop_worker)
            return application

        yield make


def follow(server: WebServer, slug: str) -> tuple[int, str]:
    """The status of a link, and where it leads."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", f"/{slug}", headers={"Host": "sign.test"})
        response = connection.getresponse()
        response.read()
        return response.status, response.headers.get("Location", "")
    finally:
        connection.close()


def seconds_until(condition: Callable[[], bool], at_most: float = 15) -> float:
    """How long it takes until something is so."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < at_most, "waited in vain"
        time.sleep(0.01)
    return time.monotonic() - started
