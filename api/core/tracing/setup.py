"""What is wrapped in a process that traces."""

from __future__ import annotations

from api.core.database.hosts import driver_options
from api.core.tracing.redis import trace_redis
from api.core.tracing.sql import TracedConnection
from api.core.tracing.tracer import TRACER, Tracer
from config.settings import Settings


def prepare_tracing(settings: Settings, service: str) -> Tracer:
    """Have the clients of this process traced, and those that it forks; `start` the tracer in each.

    `service` is what the process is called, unless the settings say it.
    """
    TRACER.configure(settings, service)
    driver_options["connection_factory"] = TracedConnection
    trace_redis()
    return TRACER
