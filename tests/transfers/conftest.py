from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from api.clicks.records import ClickRecord
from api.core.database.routing import Database
from tests.contracts.conftest import make_ingest
from tests.factories.clicks import a_segment

Count = Callable[[Sequence[ClickRecord]], None]


@pytest.fixture(scope="session")
def count(db: Database) -> Count:
    """Counts clicks as the consumer does."""
    ingest = make_ingest(db)

    def count_all(clicks: Sequence[ClickRecord]) -> None:
        ingest.ingest([a_segment(clicks)])

    return count_all
