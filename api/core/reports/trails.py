"""What a process without a web server notes on its way to an error: its last steps.

These processes have time for it: a batch of clicks is a few statements, and a job is slow anyway.
"""

from __future__ import annotations

from typing import Any

import sentry_sdk
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.redis import RedisIntegration
from sqlalchemy import event
from sqlalchemy.engine import Engine

WEB, JOBS = "web", "jobs"


def integrations_of(process: str) -> list[Integration]:
    """The SDK's own integrations that are worth their price in this process."""
    if process == WEB:
        return []
    if process == JOBS:
        # It finds Celery by itself, which no other process has loaded.
        from sentry_sdk.integrations.celery import CeleryIntegration  # noqa: PLC0415

        # Traces are OpenTelemetry's: no message of ours carries those of the SDK.
        return [CeleryIntegration(propagate_traces=False), RedisIntegration()]
    return [RedisIntegration()]


def watch_statements() -> None:
    """Note each statement, never its parameters.

    The SDK's own integration (2.75) expects an execution context, which statements that are no
    session's do not have: it fails them.
    """
    if not event.contains(Engine, "before_cursor_execute", _note_statement):
        event.listen(Engine, "before_cursor_execute", _note_statement)


def _note_statement(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
    del connection, cursor
    sentry_sdk.add_breadcrumb(category="query", message=statement)
