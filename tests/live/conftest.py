from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from api.identity.service import IdentityService
from tests.caller import Caller
from tests.running import ROOT, wait_until
from tests.services.network import free_ports


class Web:
    """A gunicorn with one worker, on the servers of the tests."""

    def __init__(self, environ: dict[str, str], output: Path) -> None:
        self.port = free_ports(1)[0]
        self._output = output
        with output.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "wsgi:app"],
                cwd=ROOT,
                env=os.environ | environ | {"PORT": str(self.port), "WEB_CONCURRENCY": "1"},
                stdout=stream,
                stderr=stream,
            )
        wait_until(self._answers)

    @property
    def output(self) -> str:
        return self._output.read_text()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.output
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health/live")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


WebMaker = Callable[..., Web]


@contextmanager
def webs(environ: dict[str, str], folder: Path) -> Iterator[WebMaker]:
    """Starts web servers, and stops them."""
    with ExitStack() as stack:

        def make(**changes: str) -> Web:
            web = Web(environ | {"LIVE_HEARTBEAT_SECONDS": "1"} | changes, folder / "web.out")
            stack.callback(web.stop)
            return web

        yield make


@pytest.fixture
def make_web(environ: dict[str, str], tmp_path: Path) -> Iterator[WebMaker]:
    """Starts web servers with settings of their own."""
    with webs(environ, tmp_path) as make:
        yield make


@pytest.fixture(scope="session")
def web(
    environ: dict[str, str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    """A web server for all tests that leave it running."""
    with webs(environ, tmp_path_factory.mktemp("web")) as make:
        yield make()


@pytest.fixture(scope="session")
def redis_url(environ: dict[str, str]) -> str:
    if not environ["REDIS_URL"]:
        pytest.skip("needs Redis: TEST_REDIS_URL, which scripts/test sets")
    return environ["REDIS_URL"]


@pytest.fixture
def new_key(identity: IdentityService) -> Callable[[Caller], str]:
    """Makes a key that can be revoked."""
    return lambda caller: identity.create_key(caller.workspace_id, name="Watcher")[1]
