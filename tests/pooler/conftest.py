from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services import pgbouncer
from tests.services.pgbouncer import PrivatePgBouncer

# Of each database: fewer than ask at the same time.
CONNECTIONS = 2


@pytest.fixture(scope="package")
def bouncer(
    database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrivatePgBouncer]:
    if not pgbouncer.available():
        pytest.skip(f"no PgBouncer: {pgbouncer.INSTALL}")
    folder = tmp_path_factory.mktemp("pgbouncer")
    for shown in (folder, *folder.parents[:2]):
        shown.chmod(0o711)  # started by root, it runs as somebody else
    server = PrivatePgBouncer(folder / "server", database_url, CONNECTIONS)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def pooled(environ: dict[str, str], bouncer: PrivatePgBouncer) -> dict[str, str]:
    """The environment of an application whose database is behind PgBouncer."""
    url = bouncer.url(environ["DATABASE_URL"])
    return environ | {"DATABASE_URL": url, "DB_PGBOUNCER": "true"}
