from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.core.database.migrate import migrate
from config.settings import Settings
from tests.conftest import new_database


@pytest.fixture
def database() -> Iterator[str]:
    """A migrated database of a test's own."""
    with new_database() as url:
        migrate(Settings.load({"DATABASE_URL": url}), report=lambda line: None)
        yield url


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / "spool").mkdir(parents=True, mode=0o700)
    return folder
