"""Callers of applications with other settings."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from api.app import create_app
from api.identity.service import IdentityService
from config.settings import Settings
from tests.caller import Caller


@pytest.fixture
def slug() -> str:
    """A slug that nobody has yet."""
    return f"s-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def caller_with(
    environ: dict[str, str], identity: IdentityService
) -> Iterator[Callable[..., Caller]]:
    """Makes a caller of an application with other settings, on the same database."""
    opened = []

    def make(**settings: str) -> Caller:
        app = create_app(Settings.load(environ | settings))
        opened.append(app)
        return Caller.of_new_workspace(app, identity)

    yield make
    for app in opened:
        app.extensions["signpost"].db.dispose()
