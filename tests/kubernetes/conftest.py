"""The manifests, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kubernetes.building import OVERLAYS, Document, build, copy_manifests


@pytest.fixture(scope="session")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that tests may change."""
    return copy_manifests(tmp_path_factory.mktemp("manifests"))


@pytest.fixture(scope="session")
def built(manifests: Path) -> dict[str, list[Document]]:
    """What each overlay sends: its Job first, then the rest."""
    return {
        overlay: build(manifests / overlay / "release") + build(manifests / overlay)
        for overlay in OVERLAYS
    }


@pytest.fixture(scope="session", params=OVERLAYS)
def documents(request: pytest.FixtureRequest, built: dict[str, list[Document]]) -> list[Document]:
    """The same, of one overlay after the other."""
    return built[request.param]


@pytest.fixture(scope="session")
def production(built: dict[str, list[Document]]) -> list[Document]:
    """What the overlay for production sends."""
    return built["overlays/production"]
