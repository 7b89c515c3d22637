"""Which processes run on this host, and whether they go on."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from api.core.heartbeat import Beat, read_beats
from api.core.load import read_loads
from api.operations.doctor.finding import Finding, ok, warning, wrong
from api.operations.doctor.subject import ASK_SECONDS, Subject

_SILENT_SECONDS = 5.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # nosec B104 # noqa: S104


def look(subject: Subject) -> Iterator[Finding]:
    """Web workers, consumers and job workers."""
    settings = subject.settings
    loads, now_ns = read_loads(settings.load_path, tidy=False), time.monotonic_ns()
    for load in loads:
        silent = (now_ns - load.now.at) / 1e9
        if silent > _SILENT_SECONDS:
            found = f"worker {load.pid} is silent for {silent:.0f} s"
            advice = "It hangs, or is frozen; gunicorn replaces it after GUNICORN_TIMEOUT_SECONDS."
            yield wrong("web", found, advice)
    if loads:
        yield ok("web", f"{len(loads)} workers, WEB_CONCURRENCY is {settings.web_concurrency}")
        yield _ready(subject)
    else:
        advice = "Start it, unless this host is for something else."
        yield warning("web", "no web server runs here", advice, "scripts/start")
    yield from _beats(
        "clicks",
        read_beats(settings.signpost_home, "clicks"),
        "scripts/consume-clicks",
        # With a broker the consumers are anywhere.
        needed=bool(loads) and settings.amqp_url is None,
    )
    workers = read_beats(settings.signpost_home, "worker")
    if settings.fetch_titles or workers:
        yield from _beats("worker", workers, "scripts/run-jobs", needed=False)


def _beats(kind: str, beats: list[Beat], command: str, *, needed: bool) -> Iterator[Finding]:
    for beat in beats:
        found = f"process {beat.pid}, last seen {beat.age_seconds:.0f} s ago"
        if beat.is_late:
            yield wrong(kind, found, "It hangs, or is frozen: end it and start it again.")
        else:
            yield ok(kind, found)
    if beats:
        return
    if needed:
        advice = "Start one: the clicks of this host wait for it."
        yield wrong(kind, "no consumer runs here", advice, command)
    else:
        yield warning(kind, "none runs here", "Start one, here or on another host.", command)


def _ready(subject: Subject) -> Finding:
    """What the web server itself says."""
    settings = subject.settings
    host = _EVERYWHERE.get(settings.host, settings.host)
    if settings.tls_certificate is None:
        connection = HTTPConnection(host, settings.port, timeout=ASK_SECONDS)
    else:
        # Its certificate is for its public name, not for the address by which we ask.
        context = ssl._create_unverified_context()  # nosec B323 # noqa: S323
        connection = HTTPSConnection(host, settings.port, timeout=ASK_SECONDS, context=context)
    token = settings.metrics_token
    began = time.perf_counter()
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", "/health/ready", headers=headers)
        told = json.loads(connection.getresponse().read())
    except (OSError, HTTPException, ValueError) as error:
        advice = f"Are HOST and PORT those of the server? Nothing else answers at {host}."
        return wrong("readiness", f"{host}:{settings.port} does not answer: {error}", advice)
    finally:
        connection.close()
    took_ms = (time.perf_counter() - began) * 1000
    checks = told.get("checks", {})
    away = [name for name, check in checks.items() if check.get("status") != "up"]
    found = f"{told.get('status', 'no answer of ours')}, {took_ms:.0f} ms"
    advice = "See docs/health.md; with METRICS_TOKEN, /health/ready tells why."
    if told.get("status") == "ready":
        return ok("readiness", found)
    found += f"; down: {', '.join(away)}" if away else ""
    judge = warning if told.get("status") == "degraded" else wrong
    return judge("readiness", found, advice)
