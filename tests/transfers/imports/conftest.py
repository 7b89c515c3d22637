"""Importers, and the worker that loads what they send."""

from __future__ import annotations

import pytest

from api.core.database.routing import Database
from api.jobs.importing import make_loader
from api.transfers.imports.loading import ImportLoader
from config.settings import Settings
from tests.caller import Caller
from tests.transfers.imports.importer import Importer, NoJobs


@pytest.fixture(scope="session")
def jobs() -> NoJobs:
    return NoJobs()


@pytest.fixture(scope="session")
def loader(settings: Settings, db: Database, jobs: NoJobs) -> ImportLoader:
    return make_loader(settings, db, jobs)  # type: ignore[arg-type]


@pytest.fixture
def importer(caller: Caller, loader: ImportLoader, jobs: NoJobs) -> Importer:
    return Importer(caller, loader, jobs)


@pytest.fixture
def other(other_caller: Caller, loader: ImportLoader, jobs: NoJobs) -> Importer:
    return Importer(other_caller, loader, jobs)
