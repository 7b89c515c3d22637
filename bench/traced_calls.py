"""What requests cost in a process as a web worker is one, whatever is traced; for `bench/tracing`.

Reads from standard input what to ask for, and writes seconds of CPU as JSON; what exports spans is
a greenlet of the same process, so its work is in them.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402

import gevent  # noqa: E402
from flask import Flask  # noqa: E402
from werkzeug.test import EnvironBuilder  # noqa: E402

from api.app import create_app  # noqa: E402
from api.core.database import gevent_wait  # noqa: E402
from config.logging import configure_logging  # noqa: E402
from config.settings import Settings  # noqa: E402

_ROUNDS = 5
# Others have their turn, as between the requests of a server.
_AT_ONCE = 20


def main() -> None:
    task = json.load(sys.stdin)
    settings = Settings.load()
    configure_logging(settings)
    gevent_wait.install(settings.db_statement_timeout_seconds + 1)
    app = create_app(settings)
    runtime = app.extensions["signpost"]
    runtime.start_worker()
    slug, host = task["slug"], task["host"]
    through = caller_of(app, f"/{slug}", host, "", 302)
    through()
    fast = app.extensions["signpost.fast"]()
    request = f"GET /{slug} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\n\r\n".encode()

    def redirect() -> None:
        answered = fast.answer(request, "127.0.0.1")
        if answered is None:
            through()
        else:
            runtime.spool.record_lines(answered[0], 1)

    calls = {
        "redirect before the parser": (redirect, 10),
        "redirect through the application": (through, 1),
        "list of 50 links": (caller_of(app, "/api/v1/links?limit=50", host, task["key"], 200), 1),
    }
    costs = {name: _cost(call, times * task["calls"]) for name, (call, times) in calls.items()}
    runtime.stop_worker()
    sys.stdout.write(json.dumps(costs))


def _cost(call: Callable[[], None], times: int) -> float:
    """Seconds of this process's CPU for one time; the middle of some rounds."""
    found = []
    for _ in range(_ROUNDS):
        before = time.process_time()
        for number in range(times // _ROUNDS):
            call()
            if number % _AT_ONCE == 0:
                gevent.sleep(0)
        found.append((time.process_time() - before) / (times // _ROUNDS))
    return statistics.median(found)


def caller_of(app: Flask, path: str, host: str, key: str, status: int) -> Callable[[], None]:
    """Calls the application as gunicorn would, and takes care that it answers well."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    builder = EnvironBuilder(path=path, headers=headers, base_url=f"http://{host}")
    environ = builder.get_environ()

    def start(line: str, *_: object) -> None:
        if not line.startswith(str(status)):
            raise SystemExit(f"{path} answered {line}")

    def call() -> None:
        body = app.wsgi_app(dict(environ), start)
        for _ in body:
            pass
        if hasattr(body, "close"):
            body.close()

    return call


if __name__ == "__main__":
    main()
