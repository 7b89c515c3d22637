"""An installation whose database is replicated, and its processes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from flask import Flask

from api.app import create_app
from api.core.database.migrate import migrate
from api.core.database.replica import UNKNOWN
from api.core.database.replicas import ReplicaSet
from api.core.database.routing import Database
from api.identity.service import IdentityService
from config.settings import Settings
from tests.caller import Caller
from tests.redirects.shared_redis import SharedRedis
from tests.redirects.visitor import Visitor
from tests.services.replication import Replicated
from tests.unlimited import UNLIMITED

_EPOCHS = ("signpost:copies:v1:epoch", "signpost:positions:v1:epoch")
_LONG_AGO_MS = 1_000_000_000_000


class Site:
    """Makes processes, as instances of the application, over the same servers."""

    def __init__(self, servers: Replicated, redis: SharedRedis, home: str) -> None:
        self.servers = servers
        self.redis = redis
        self._stack = ExitStack()
        self.environ = {
            "DATABASE_URL": servers.primary.url,
            "DATABASE_REPLICA_URLS": ",".join(standby.url for standby in servers.standbys),
            "DB_MAX_REPLICA_LAG_SECONDS": "10",
            "REDIS_URL": redis.url,
            "SIGNPOST_HOME": home,
            "SECRET_KEY": f"a secret of the tests only {uuid.uuid4().hex}",
            "BASE_URL": "http://sign.test",
            "METRICS_TOKEN": "a token of the tests only",
            "REDIRECT_WARM_ENTRIES": "0",
            **UNLIMITED,
        }
        migrate(Settings.load(self.environ), report=lambda line: None)
        servers.settle()

    def process(self, **changes: str) -> Flask:
        """A process that reads replicas, as Redis has been there for long."""
        app = create_app(Settings.load(self.environ | changes))
        runtime = app.extensions["signpost"]
        runtime.start_worker()
        self._stack.callback(runtime.stop_worker)
        self.let_time_pass(app)
        return app

    def let_time_pass(self, app: Flask) -> None:
        """Let Redis have forgotten nothing for long, and each replica be judged."""
        replicas = replicas_of(app)

        def replicas_are_read() -> bool:
            self._age()
            before = reads_of(app)
            ask(app)
            return reads_of(app) > before

        ask(app)
        assert within(10, lambda: all(replica.state != UNKNOWN for replica in replicas.replicas))
        if any(replica.usable for replica in replicas.replicas):
            assert within(10, replicas_are_read), replicas.to_primary

    def caller(self, app: Flask) -> Caller:
        """A caller of a new workspace."""
        db: Database = app.extensions["signpost"].db
        secret = Settings.load(self.environ).resolved_secret_key()
        return Caller.of_new_workspace(app, IdentityService(db, secret))

    def visitor(self, app: Flask) -> Visitor:
        """Somebody who follows links."""
        return Visitor(app)

    def _age(self) -> None:
        for name in _EPOCHS:
            if held := self.redis.client.get(name):
                run, chance, _ = held.split(b".")  # type: ignore[union-attr]
                self.redis.client.set(name, b"%b.%b.%d" % (run, chance, _LONG_AGO_MS))

    def pause(self) -> None:
        """Let the standbys receive what is written, and not apply it, until the end."""
        self.servers.settle()
        for standby in self.servers.standbys:
            self._stack.callback(standby.resume_replay)
            standby.pause_replay()

    def close(self) -> None:
        """Stop the processes."""
        self._stack.close()


def at(app: Flask, caller: Caller) -> Caller:
    """The same caller at another process."""
    return Caller(app, caller.identity, caller.workspace_id, caller.key)


def replicas_of(app: Flask) -> ReplicaSet:
    """What a process knows of the servers of the first shard."""
    db: Database = app.extensions["signpost"].db
    return db.replica_sets()[0]


def reads_of(app: Flask) -> int:
    """How many reads went to replicas."""
    return sum(replica.reads for replica in replicas_of(app).replicas)


def ask(app: Flask) -> None:
    """A read for a workspace that has written nothing."""
    db: Database = app.extensions["signpost"].db
    with db.read(5, workspace=1) as session:
        session.connection()


def within(seconds: float, holds: Callable[[], Any]) -> bool:
    """Whether something comes to hold in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return bool(holds())
