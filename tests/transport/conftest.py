from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from api.app import create_app
from config.settings import Settings
from tests.redirects.visitor import Visitor

SiteMaker = Callable[..., Visitor]
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
