"""Traces of the application's requests; loaded only where they are exported."""

from __future__ import annotations

from functools import partial

from api.core.tracing.setup import prepare_tracing
from api.core.tracing.wsgi import TracedApplication
from api.wiring.parts import Parts
from config.settings import SERVICES


def add_tracing(parts: Parts) -> None:
    """Trace requests, and what is done about them."""
    services = parts.settings.signpost_services
    kind = services[0] if len(services) < len(SERVICES) else "web"
    tracer = prepare_tracing(parts.settings, f"signpost-{kind}")
    app, runtime = parts.app, parts.runtime
    app.wsgi_app = TracedApplication(app.wsgi_app, tracer)  # type: ignore[method-assign]
    fast = app.extensions.get("signpost.fast")
    if fast is not None:
        from api.redirects.traced import TracedFastPath  # noqa: PLC0415 - not where it is not served

        app.extensions["signpost.fast"] = partial(TracedFastPath, *fast.args, **fast.keywords)
    runtime.on_start.insert(0, tracer.start)
    runtime.on_end.append(tracer.stop)
