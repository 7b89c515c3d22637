from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import migrated_database


@pytest.fixture
def database() -> Iterator[str]:
    """A migrated database of a test's own."""
    with migrated_database() as url:
        yield url


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / "spool").mkdir(parents=True, mode=0o700)
    return folder
