from __future__ import annotations

import pytest

from tests.services import prometheus


@pytest.fixture(autouse=True, scope="session")
def _prometheus() -> None:
    """Nothing here without Prometheus' own programs."""
    if not prometheus.available():
        pytest.skip(f"{prometheus.ABSENT}: {prometheus.INSTALL}")
