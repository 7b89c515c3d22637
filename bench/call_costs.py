"""What each part of an API call costs in a process as a web worker is one; for `bench/api_parts`.

Reads from standard input what to ask for, and writes seconds of CPU as JSON.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Mapping, Sequence  # noqa: E402
from dataclasses import replace  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from itertools import cycle  # noqa: E402
from typing import Any  # noqa: E402

from flask import Flask  # noqa: E402
from werkzeug.test import EnvironBuilder, run_wsgi_app  # noqa: E402

from api.app import create_app  # noqa: E402
from api.core.answers import to_json  # noqa: E402
from api.core.database import gevent_wait  # noqa: E402
from api.core.ids import slot_of_id  # noqa: E402
from api.limits.counts import ask as ask_plan  # noqa: E402
from api.limits.service import LimitService  # noqa: E402
from api.links import finding, store  # noqa: E402
from api.links.schemas import FIELDS, Presenter  # noqa: E402
from bench.rivals.flask_api import app as bare  # noqa: E402
from config.logging import configure_logging  # noqa: E402
from config.plans import Plan  # noqa: E402
from config.settings import Settings  # noqa: E402

_WARM = 200
_NEW = b'{"url": "https://example.com/article/1?utm_source=newsletter&utm_medium=email"}'


class Calls:
    """One application, one key, and the questions of its routes apart from them."""

    def __init__(self, key: str, ids: list[str], calls: int) -> None:
        self._settings = Settings.load()
        configure_logging(self._settings)
        gevent_wait.install(self._settings.db_statement_timeout_seconds + 1)
        self._app = create_app(self._settings)
        self._key = key
        self._path = f"/api/v1/links/{ids[0]}"
        self._numbers = cycle(map(int, ids))
        self._calls = calls
        self._authenticate = self._app.extensions["signpost.authenticator"]
        self._caller = self._authenticate(key)
        self._services = self._app.extensions["signpost.services"]
        self._db = self._app.extensions["signpost"].db

    def parts(self) -> dict[str, dict[str, float]]:
        """Seconds of CPU of each part of each call."""
        found = {
            "Get a link": self._reading(self._path, self._get),
            "List 10 links": self._reading("/api/v1/links?limit=10", lambda: self._page(10)),
            "List 50 links": self._reading("/api/v1/links?limit=50", lambda: self._page(50)),
            "Create a link": self._whole("/api/v1/links", _NEW),
        }
        found["Get a link"] |= self._plans()
        return found

    def _reading(self, path: str, ask: Callable[[], Sequence[Any]]) -> dict[str, float]:
        rows = ask()
        return self._whole(path) | {
            "the API key": self._cost(lambda: self._authenticate(self._key)),
            "PostgreSQL, our side of the question": self._cost(ask),
            "shaping and JSON": self._cost(lambda: self._shape(rows)),
        }

    def _whole(self, path: str, body: bytes | None = None) -> dict[str, float]:
        return {
            "the whole call": self._cost(caller_of(self._app, path, self._key, body)),
            "the same on Flask alone": self._cost(caller_of(bare, path, self._key, body)),
        }

    def _plans(self) -> dict[str, float]:
        many = 1_000_000_000
        both = Plan("both", reads_per_minute=many, api_calls_per_day=many)
        limits, asked = self._services[LimitService], ask_plan(both, self._caller, writes=False)
        return {
            "its plan, without limits": self._cost(self._limit(Plan("none"))),
            "its plan, in Redis, of a busy caller": self._cost(self._limit(both)),
            "its plan, in Redis, asked for each call": self._cost(lambda: limits.look(asked)),
            "its plan, both in the process": self._cost(self._limit(both, redis_url=None)),
        }

    def _limit(self, plan: Plan, **changes: Any) -> Callable[[], object]:
        settings = replace(self._settings, plans=(plan,), default_plan=plan.name, **changes)
        check = create_app(settings).extensions["signpost.limiter"]
        return lambda: check(self._caller, False)

    def _get(self) -> Sequence[Any]:
        number = next(self._numbers)
        slot, workspace = slot_of_id(number), self._caller.workspace_id
        with self._db.read_once(slot, workspace) as one:
            return [store.ask_link(one, workspace, slot, number)]

    def _page(self, limit: int) -> Sequence[Any]:
        rows: Sequence[Any] = ()
        for shard in self._db.shards():
            with self._db.read_shard_once(shard) as one:
                rows = finding.ask_links(
                    one,
                    self._caller.workspace_id,
                    fields=FIELDS,
                    sort="-created_at",
                    after=None,
                    limit=limit + 1,
                )
        return rows

    def _shape(self, rows: Sequence[Any]) -> bytes:
        present, now = self._services[Presenter].link, datetime.now(UTC)
        return to_json({"data": [present(row, FIELDS, now) for row in rows]})

    def _cost(self, work: Callable[[], object]) -> float:
        """Seconds of this process's CPU for one time, on the average."""
        for _ in range(_WARM):
            work()
        before = time.process_time()
        for _ in range(self._calls):
            work()
        return (time.process_time() - before) / self._calls


def caller_of(app: Flask, path: str, key: str, body: bytes | None = None) -> Callable[[], None]:
    """Calls a WSGI application as gunicorn would, and takes care that it answers well."""
    headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
    builder = EnvironBuilder(
        path=path,
        method="POST" if body else "GET",
        headers=headers,
        data=body,
        content_type="application/json" if body else None,
        base_url="http://127.0.0.1:8000",
    )
    environ: Mapping[str, Any] = builder.get_environ()

    def call() -> None:
        asked = dict(environ)
        if body:
            asked["wsgi.input"].seek(0)
        content, status, _ = run_wsgi_app(app.wsgi_app, asked)
        if not status.startswith("20"):
            raise SystemExit(f"{path} answered {status}: {b''.join(content)!r}")

    return call


if __name__ == "__main__":
    sys.stdout.write(json.dumps(Calls(**json.load(sys.stdin)).parts()))
