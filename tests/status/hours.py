"""Hours that never were: what the page is to tell of them is known."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from api.app import create_app
from api.operations.status.counters import CALL_TIME, CLICK_DELAY, REDIRECT_TIME, Times
from api.operations.status.figures import Figures
from api.operations.status.local import MinuteFiles
from config.settings import Settings
from tests.conftest import METRICS_TOKEN

AS_OPERATOR = ("anybody", METRICS_TOKEN)
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Nothing."""


def make_app(home: Path, **environ: str) -> Flask:
    """An application that shows what its home knows."""
    given = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "SIGNPOST_HOME": str(home),
        "SECRET_KEY": "a secret of the tests only",
        "METRICS_TOKEN": METRICS_TOKEN,
        "SIGN_IN_TRIES_PER_MINUTE": "3",
    }
    return create_app(Settings.load(given | environ))


def fill(home: Path, minute: Callable[[int], Figures | None]) -> int:
    """Let `minute(ago)` be what a host knows of each minute; answers the last one's number.

    A test may look when the next minute has begun: that is known, too.
    """
    files = MinuteFiles(home / "status")
    last = int(time.time() // 60)
    for ago in range(59, -2, -1):
        figures = minute(ago)
        if figures is not None:
            files.add(last - ago, figures)
    return last


def quiet(**more: float) -> Figures:
    """A minute in which everything was well, on one host of two workers."""
    return {
        "samples": 6, "seconds": 60, "hosts": 1, "workers": 12,
        "busy": 1.2, "busy_samples": 6, "max.busy": 0.3, "max.loop_delay_seconds": 0.0008,
        "max.pool_share": 0.2, "max.spool_bytes": 40_000, "max.oldest_click_seconds": 0.2,
        "redirects.prepared": 1_200, "clicks_recorded": 1_200, "clicks_counted": 1_200,
        "calls.2xx": 300,
        **more,
    }  # fmt: skip


def busy_hour(ago: int) -> Figures | None:
    """An hour of a site with two hosts, one restart and one outage of Redis: for a picture of the
    page. Always the same."""
    if 37 <= ago < 41:
        return None
    dice = random.Random(ago)  # nosec B311
    wave = 1 + 0.45 * math.sin(ago / 9) + 0.2 * dice.random()
    away = 12 <= ago < 20
    redirects = 60 * 950 * wave
    shares = {"prepared": 0.9, "process": 0.05, "redis": 0.03, "database": 0.01, "missing": 0.01}
    if away:
        shares |= {"redis": 0.0, "database": 0.06}
    figures = quiet(
        samples=12, seconds=120, hosts=2, workers=48, busy=12 * 0.3 * wave, busy_samples=12,
        clicks_recorded=0.99 * redirects, clicks_counted=0.99 * redirects,
    )  # fmt: skip
    figures |= {f"redirects.{level}": share * redirects for level, share in shares.items()}
    figures |= {"calls.2xx": 1_200 * wave, "calls.3xx": 240 * wave, "calls.4xx": 90 * wave}
    figures |= {"calls.5xx": 2.0, "max.busy": 0.42 * wave, "max.pool_share": 0.2 * wave}
    figures |= {"max.spool_bytes": 60_000 * wave, "max.loop_delay_seconds": 0.0008 * wave}
    figures |= {
        "up.database": 12,
        "up.spool": 12,
        "up.disk": 12,
        "down.redis" if away else "up.redis": 12,
    }
    figures |= _times(dice, REDIRECT_TIME, redirects, 0.00015, 1.5 if away else 1.0)
    figures |= _times(dice, CALL_TIME, 1_500, 0.006, 0.7)
    return figures | _times(dice, CLICK_DELAY, redirects, 0.4, 0.5)


def _times(
    dice: random.Random, times: Times, number: float, median: float, spread: float
) -> Figures:
    found: Figures = {}
    for _ in range(400):
        value = median * math.exp(dice.gauss(0, spread))
        bound = next((bound for bound in times.bounds if value <= bound), math.inf)
        name = f"{times.beginning}{bound}"
        found[name] = found.get(name, 0.0) + number / 400
    return found


@contextmanager
def serving(home: Path, **environ: str) -> Iterator[str]:
    """The address of the page of such an application, on a server of its own."""
    app = make_app(home, **environ)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}/status"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
