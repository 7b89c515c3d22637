from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from api.identity.service import IdentityService
from tests.gateway.client import Answer, ask
from tests.gateway.system import System
from tests.services import nginx
from tests.services.certificates import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if not nginx.available():
        pytest.skip(f"no nginx: {nginx.INSTALL}")
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def system(
    authority: Authority, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """One for all tests of this process: it takes seconds to start."""
    settings = {name: environ[name] for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")}
    made = System(tmp_path_factory.mktemp("system"), authority, settings)
    with made.running() as running:
        yield running


class Client:
    """Calls the API through the gateway with a key."""

    def __init__(self, system: System, key: str) -> None:
        self.gateway = system.gateway
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        return ask(self.gateway, method, f"/api/v1{path}", body=body, headers=self.headers)

    def create_link(self) -> str:
        """A new link's slug."""
        slug = f"gate-{uuid.uuid4().hex[:12]}"
        body = f'{{"url": "https://example.com/{slug}", "slug": "{slug}"}}'.encode()
        answer = self.ask("POST", "/links", body)
        assert answer.status == 201, answer.body
        return slug


@pytest.fixture(scope="session")
def api(system: System, identity: IdentityService) -> Client:
    workspace = identity.create_workspace("Gateway").id
    _, key = identity.create_key(workspace, name="Gateway")
    return Client(system, key)
