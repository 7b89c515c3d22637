from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.redirects.wire.pair import Pair


@pytest.fixture(scope="session")
def pair(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both servers, which know all links."""
    with Pair(tmp_path_factory.mktemp("pair"), environ) as pair:
        yield pair
