"""What every test stands on: a database of its own worker, the application, and a caller."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT
from sqlalchemy.engine import make_url

from api.app import create_app
from api.core.database.migrate import migrate
from api.core.database.routing import Database
from api.identity.service import IdentityService
from config.settings import Settings
from tests.caller import Caller
from tests.unlimited import UNLIMITED

METRICS_TOKEN = "a token of the tests only"
OPERATOR = {"Authorization": f"Bearer {METRICS_TOKEN}"}
# Closed when the last test of this process is over.
_till_the_end = ExitStack()


def _server_url() -> str:
    url = os.environ.get("TEST_DATABASE_URL")
    if not url:
        pytest.exit("TEST_DATABASE_URL is not set: run the tests with scripts/test", 2)
    return url


def _run_on_server(statement: str) -> None:
    url = make_url(_server_url()).set(drivername="postgresql", database="postgres")
    connection = psycopg2.connect(url.render_as_string(hide_password=False))
    try:
        connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


@contextmanager
def new_database(*, like: str = "template1") -> Iterator[str]:
    """The URL of a database that is there for a while: empty, or a copy of one that rests."""
    name = f"signpost_test_{uuid.uuid4().hex[:12]}"
    _run_on_server(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
    url = make_url(_server_url()).set(drivername="postgresql", database=name)
    yield url.render_as_string(hide_password=False)
    _run_on_server(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def migrated_database() -> Iterator[str]:
    """The URL of a migrated database that is there for a while: a copy is made sooner than it."""
    with new_database(like=_migrated()) as url:
        yield url


@functools.cache
def _migrated() -> str:
    """The name of a migrated database that is only copied."""
    url = _till_the_end.enter_context(new_database())
    migrate(Settings.load({"DATABASE_URL": url}), report=lambda line: None)
    return str(make_url(url).database)


def pytest_sessionfinish() -> None:
    """Leave nothing behind."""
    _till_the_end.close()


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """A migrated database that only this worker uses."""
    with migrated_database() as url:
        yield url


@pytest.fixture(scope="session")
def environ(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the application under test."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": os.environ.get("TEST_REDIS_URL", ""),
        "SIGNPOST_HOME": str(tmp_path_factory.mktemp("home")),
        # Of this worker: what others keep in the same Redis is then nothing to it.
        "SECRET_KEY": f"a secret of the tests only {uuid.uuid4().hex}",
        "BASE_URL": "http://sign.test",
        "METRICS_TOKEN": METRICS_TOKEN,
        # A process that loads links by itself would disturb who counts what is asked.
        "REDIRECT_WARM_ENTRIES": "0",
        **UNLIMITED,
    }


@pytest.fixture(scope="session")
def settings(environ: dict[str, str]) -> Settings:
    """The settings of the application under test."""
    return Settings.load(environ)


@pytest.fixture(scope="session")
def db(settings: Settings) -> Iterator[Database]:
    """Sessions on this worker's database."""
    database = Database(settings)
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def app(settings: Settings) -> Iterator[Flask]:
    """The application, all services in one."""
    application = create_app(settings)
    application.extensions["signpost"].start_worker()
    yield application
    application.extensions["signpost"].stop_worker()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Somebody without a credential."""
    return app.test_client()


@pytest.fixture(scope="session")
def identity(db: Database, settings: Settings) -> IdentityService:
    """Makes workspaces and keys."""
    return IdentityService(db, settings.resolved_secret_key())


@pytest.fixture
def caller(app: Flask, identity: IdentityService) -> Caller:
    """A key with every scope of a workspace that is new for this test."""
    return Caller.of_new_workspace(app, identity)


@pytest.fixture
def other_caller(app: Flask, identity: IdentityService) -> Caller:
    """A key with every scope of another workspace."""
    return Caller.of_new_workspace(app, identity)


@pytest.fixture
def spool_path(settings: Settings) -> Path:
    """Where the application writes its clicks."""
    return settings.spool_path
