"""What Celery says of each attempt to reach its broker, told once for all of them."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from celery.bootsteps import StartStopStep

from api.core.dependencies import Dependency

_LOGGER = "celery.worker.consumer.consumer"


def follow_broker(celery: Celery, broker: Dependency) -> None:
    """Note from Celery's own steps and lines how the broker is."""

    class Connected(StartStopStep):  # type: ignore[misc]
        """Begun each time that there is a connection."""

        requires = ("celery.worker.consumer.connection:Connection",)

        def start(self, parent: Any) -> None:
            """There is one."""
            del parent
            broker.answered()

    celery.steps["consumer"].add(Connected)
    logging.getLogger(_LOGGER).addFilter(_Failures(broker))


class _Failures(logging.Filter):
    """Keeps back the lines that say that there is no connection."""

    def __init__(self, broker: Dependency) -> None:
        super().__init__()
        # Only now: it loads what a Sentry's integration has to find unloaded.
        from celery.worker.consumer import consumer  # noqa: PLC0415

        self._broker = broker
        self._first, self._later = consumer.CONNECTION_ERROR, consumer.CONNECTION_RETRY

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is to be written."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        if record.msg != self._first and self._later not in arguments:
            return True
        self._broker.failed(arguments[1])
        return False
