"""Both servers where https is promised and demanded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import migrated_database
from tests.redirects.wire.corpus_fields import FORWARDING
from tests.redirects.wire.links import HOST
from tests.redirects.wire.pair import Pair, follow_up
from tests.redirects.wire.talk import PROXY, STRANGER, Message

PROMISE = b"max-age=60; includeSubDomains"


@pytest.fixture
def database_of_its_own() -> Iterator[str]:
    with migrated_database() as url:
        yield url


def test_nobody_can_tell_the_servers_apart(
    environ: dict[str, str], database_of_its_own: str, tmp_path: Path
) -> None:
    settings = {
        "DATABASE_URL": database_of_its_own,
        "BASE_URL": f"https://{HOST}",
        "FORCE_HTTPS": "true",
        "HSTS_SECONDS": "60",
        "HSTS_INCLUDE_SUBDOMAINS": "true",
    }
    seen = {}
    with Pair(tmp_path, environ, **settings) as pair:
        for name, case in FORWARDING.items():
            for peer in (PROXY, STRANGER):
                said = pair.compare(Message((case,), peer, follow_up()))
                seen[name, peer] = said.conversation.answers[0]

    def promised(name: str, peer: str) -> bool:
        return seen[name, peer].header(b"Strict-Transport-Security") == PROMISE

    assert [seen["proto-http", peer].code for peer in (PROXY, STRANGER)] == [308, 302]
    assert seen["proto-http", PROXY].header(b"Location") == f"https://{HOST}/plain".encode()
    assert [promised("proto-https", peer) for peer in (PROXY, STRANGER)] == [True, False]
    assert [promised("for", peer) for peer in (PROXY, STRANGER)] == [True, False]
    assert not promised("proto-http", PROXY)
