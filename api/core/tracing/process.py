"""Traces of a process that is no web server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from api.core.tracing.spans import running_trace_id
from config.logging import log_within
from config.settings import Settings


@contextmanager
def traced_process(settings: Settings, service: str) -> Iterator[None]:
    """Export traces meanwhile, where the settings say so; else load nothing for it."""
    if not settings.otel_exporter_otlp_endpoint:
        yield
        return
    from api.core.tracing.setup import prepare_tracing  # noqa: PLC0415 - only where it is used

    log_within(lambda: {"trace_id": running_trace_id()})
    tracer = prepare_tracing(settings, service)
    tracer.start()
    try:
        yield
    finally:
        tracer.stop()
