"""Reads links as a web worker does, without HTTP: for `bench/data`.

Reads from standard input what to read, and writes what came of it, both as JSON.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import random  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402

from api.app import create_app  # noqa: E402
from api.core.database import gevent_wait  # noqa: E402
from api.core.errors import Unavailable  # noqa: E402
from api.core.redis_clients import make_redis  # noqa: E402
from api.links.filters import LinkFilter  # noqa: E402
from api.links.service import LinkService  # noqa: E402
from bench.data_tier.servers import WORKSPACE, cpu_seconds  # noqa: E402
from config.settings import Settings  # noqa: E402

_LIST = 50
_EPOCH = "signpost:positions:v1:epoch"
_BELIEVED_SECONDS = 15.0


class Load:
    """One process with an application, and what it reads."""

    def __init__(self, ids: list[int], kind: str) -> None:
        self._settings = Settings.load()
        gevent_wait.install(self._settings.db_statement_timeout_seconds + 1)
        app = create_app(self._settings)
        self._db = app.extensions["signpost"].db
        self._links: LinkService = app.extensions["signpost.services"][LinkService]
        self._ids = ids
        self._read: Callable[[], None] = {"link": self._link, "list": self._list}[kind]
        self.durations: list[float] = []
        self.failed = 0

    def wait_for_replicas(self) -> None:
        """Go on once replicas are read: a Redis that has just begun is not believed, and a replica
        only after some good answers."""
        replicas = self._db.replica_sets()[0].replicas
        if not replicas:
            return
        redis_url = self._settings.redis_url
        assert redis_url is not None  # noqa: S101 - it is given to every run
        redis: Any = make_redis(redis_url, 1.0)
        until = time.monotonic() + _BELIEVED_SECONDS
        while not all(replica.reads for replica in replicas):
            if time.monotonic() > until:
                raise SystemExit("replicas are not read")
            self._read()
            if held := redis.get(_EPOCH):
                run, chance, _ = held.split(b".")
                redis.set(_EPOCH, b"%b.%b.%d" % (run, chance, 1_000_000_000_000))
            gevent.sleep(0.02)

    def run(self, readers: int, seconds: float) -> float:
        """Read with so many at a time; the seconds that it took."""
        self.durations, self.failed = [], 0
        began = time.monotonic()
        until = began + seconds
        gevent.joinall([gevent.spawn(self._go_on, until) for _ in range(readers)])
        return time.monotonic() - began

    def _go_on(self, until: float) -> None:
        while time.monotonic() < until:
            gevent.sleep(0)  # as a worker before each request: others are not held up
            began = time.monotonic()
            try:
                self._read()
            except Unavailable:
                self.failed += 1
            else:
                self.durations.append((time.monotonic() - began) * 1_000)

    def _link(self) -> None:
        wanted = random.choice(self._ids)  # nosec B311 # noqa: S311
        if self._links.get_link(WORKSPACE, wanted).id != wanted:
            raise SystemExit("another link was read")

    def _list(self) -> None:
        rows, _ = self._links.list_links(WORKSPACE, LinkFilter(), limit=_LIST)
        if [row.id for row in rows] != self._newest():
            raise SystemExit("another page was read")

    def _newest(self) -> list[int]:
        return self._ids[: -_LIST - 1 : -1]


def main() -> None:
    """Read, and tell."""
    task = json.load(sys.stdin)
    load = Load(sorted(task["ids"]), task["kind"])
    load.wait_for_replicas()
    load.run(task["readers"], min(task["seconds"] / 4, 1.0))
    before = [cpu_seconds(server) for server in task["servers"]]
    own = time.process_time()
    took = load.run(task["readers"], task["seconds"])
    told = {
        "seconds": took,
        "durations": load.durations,
        "failed": load.failed,
        "own_cpu": time.process_time() - own,
        "cpu": [
            cpu_seconds(server) - used for server, used in zip(task["servers"], before, strict=True)
        ],
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
