"""An installation on two PostgreSQL servers, with scripts and processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import create_engine, text

from api.app import create_app
from api.core.embedded.postgres import EmbeddedPostgres
from api.identity.service import IdentityService
from config.settings import Settings
from tests.caller import Caller
from tests.running import ROOT, clean_environ
from tests.scripting import run_script

_FORGETFUL = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "wal_receiver_status_interval": "1s",
}


class TwoServers:
    """`main`, and `second`, which owns nothing yet."""

    def __init__(self, folder: Path, **settings: str) -> None:
        folder.chmod(0o711)  # started by root, the servers run as somebody else
        self.folder = folder
        self.names = ("main", "second")
        self._servers = {
            name: EmbeddedPostgres(folder / name, options=_FORGETFUL) for name in self.names
        }
        self._home = folder / "home"
        self._settings = settings
        self._apps: list[Flask] = []

    def start(self) -> None:
        """Start both, bring them to the newest schema, and make the second a shard."""
        self._home.mkdir()
        for server in self._servers.values():
            server.start()
        for server in self._servers.values():
            wait_for(server.ready)
        self.url = {name: server.url for name, server in self._servers.items()}
        self.environ = clean_environ(
            self._home,
            DATABASE_URL=self.url["main"],
            REDIS_URL=os.environ["TEST_REDIS_URL"],
            SECRET_KEY="a secret of the tests of moves",
            STATS_CACHE_SECONDS="0",
            **self._settings,
        )
        self.engines = {
            name: create_engine(str(Settings.load({"DATABASE_URL": url}).database_url))
            for name, url in self.url.items()
        }
        self.run("migrate")
        self.run("shards", "add", "second", self.url["second"])

    def stop(self) -> None:
        """Stop everything that was started."""
        for app in self._apps:
            app.extensions["signpost"].stop_worker()
            app.extensions["signpost"].db.dispose()
        for engine in self.engines.values():
            engine.dispose()
        for server in self._servers.values():
            server.stop()

    def app(self) -> Flask:
        """The application once more, which shares nothing with others but the servers."""
        app = create_app(Settings.load(self.environ))
        app.extensions["signpost"].start_worker()
        self._apps.append(app)
        return app

    def caller(self, app: Flask) -> Caller:
        """A key of a new workspace."""
        settings = Settings.load(self.environ)
        identity = IdentityService(app.extensions["signpost"].db, settings.resolved_secret_key())
        return Caller.of_new_workspace(app, identity)

    def run(self, *arguments: str) -> str:
        """Run a script to its end; what it printed."""
        script, *rest = arguments
        done = run_script(script, *rest, env=self.environ, timeout=150)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def script(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a script."""
        with (self.folder / "scripts.log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=self.environ,
                stdout=subprocess.DEVNULL,
                stderr=log,
                text=True,
            )

    @contextmanager
    def consumer(self) -> Iterator[None]:
        """A process that counts clicks; at its end it has counted all."""
        process = self.script("scripts/consume-clicks")
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(60) == 0

    def move(self, *arguments: str) -> dict[str, Any]:
        """Move slots, to the end."""
        found: dict[str, Any] = json.loads(self.run("shards", "move", *arguments, "--json"))
        return found

    def killed_at(self, step: str, *arguments: str) -> bool:
        """Start a move, and kill its process as soon as the directory says that it has come to a
        step; whether it was still running."""
        mover = self.script("scripts/shards", "move", *arguments)
        try:
            wait_for(lambda: self.step() == step or mover.poll() is not None, 60)
            mover.send_signal(signal.SIGKILL)
        finally:
            mover.kill()
            status = mover.wait(10)
        return status == -signal.SIGKILL

    def step(self) -> str | None:
        """How far the last move is."""
        query = text("SELECT step FROM slot_moves ORDER BY id DESC LIMIT 1")
        with self.engines["main"].connect() as connection:
            found: str | None = connection.scalar(query)
        return found

    def rows(self, query: str) -> list[Any]:
        """The rows of a question, of both servers; `slot` of those that no other shard owns."""
        found: list[Any] = []
        for engine in self.engines.values():
            with engine.connect() as connection:
                found += connection.execute(text(query)).all()
        return found

    def verified(self) -> dict[str, Any]:
        """What `scripts/shards verify` says, which must be that all is well."""
        found: dict[str, Any] = json.loads(self.run("shards", "verify", "--json"))
        assert found["ok"], found
        return found


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: it takes too long.
    """
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.02)
