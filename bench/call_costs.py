"""What each part of an API call costs in a process as a web worker is one; for `bench/api_parts`.

Reads from standard input what to ask for, and writes seconds of CPU as JSON.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Mapping  # noqa: E402
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
from api.links import store  # noqa: E402
from api.links.schemas import FIELDS, Presenter  # noqa: E402
from bench.rivals.flask_api import app as bare  # noqa: E402
from config.logging import configure_logging  # noqa: E402
from config.plans import Plan  # noqa: E402
from config.settings import Settings  # noqa: E402

_WARM = 200
_NEW = b'{"url": "https://example.com/article/1?utm_source=newsletter&utm_medium=email"}'


def main(key: str, ids: list[str], calls: int) -> dict[str, dict[str, float]]:
    """Seconds of CPU of each part of each call."""
    settings = Settings.load()
    configure_logging(settings)
    gevent_wait.install(settings.db_statement_timeout_seconds + 1)
    app = create_app(settings)
    runtime, services = app.extensions["signpost"], app.extensions["signpost.services"]
    caller = app.extensions["signpost.authenticator"](key)
    db, presenter = runtime.db, services[Presenter]
    numbers = cycle(map(int, ids))

    def get() -> Any:
        number = next(numbers)
        with db.read_once(slot_of_id(number), caller.workspace_id) as one:
            return store.ask_link(one, caller.workspace_id, slot_of_id(number), number)

    def page(limit: int) -> Any:
        for each in db.read_each_once():
            with each as one:
                rows = store.ask_links(
                    one, caller.workspace_id, fields=FIELDS, sort="-created_at", after=None,
                    limit=limit + 1,
                )  # fmt: skip
        return rows

    def shape(rows: list[Any]) -> bytes:
        now = datetime.now(UTC)
        return to_json({"data": [presenter.link(row, FIELDS, now) for row in rows]})

    def cost(work: Callable[[], object]) -> float:
        return cpu_of(work, calls)

    def limit(plan: Plan, **changes: Any) -> Callable[[], object]:
        other = create_app(replace(settings, plans=(plan,), default_plan=plan.name, **changes))
        check = other.extensions["signpost.limiter"]
        return lambda: check(caller, False)

    parts: dict[str, dict[str, float]] = {}
    for name, path, ask in (
        ("Get a link", f"/api/v1/links/{ids[0]}", get),
        ("List 10 links", "/api/v1/links?limit=10", lambda: page(10)),
        ("List 50 links", "/api/v1/links?limit=50", lambda: page(50)),
    ):
        found = ask()
        rows = found if isinstance(found, list) else [found]
        parts[name] = {
            "the whole call": cost(caller_of(app, path, key)),
            "the same on Flask alone": cost(caller_of(bare, path, key)),
            "the API key": cost(lambda: app.extensions["signpost.authenticator"](key)),
            "PostgreSQL, our side of the question": cost(ask),
            "shaping and JSON": cost(lambda rows=rows: shape(rows)),  # type: ignore[misc]
        }
    both = Plan("both", reads_per_minute=1_000_000_000, api_calls_per_day=1_000_000_000)

    def look() -> object:
        return services[LimitService].look(ask_plan(both, caller, writes=False))

    parts["Get a link"] |= {
        "its plan, without limits": cost(limit(Plan("none"))),
        "its plan, in Redis, of a busy caller": cost(limit(both)),
        "its plan, in Redis, asked for each call": cost(look),
        "its plan, both in the process": cost(limit(both, redis_url=None)),
    }
    parts["Create a link"] = {
        "the whole call": cost(caller_of(app, "/api/v1/links", key, _NEW)),
        "the same on Flask alone": cost(caller_of(bare, "/api/v1/links", key, _NEW)),
    }
    return parts


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


def cpu_of(work: Callable[[], object], calls: int) -> float:
    """Seconds of this process's CPU for one call, on the average."""
    for _ in range(_WARM):
        work()
    before = time.process_time()
    for _ in range(calls):
        work()
    return (time.process_time() - before) / calls


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(**json.load(sys.stdin))))
