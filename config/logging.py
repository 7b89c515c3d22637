"""Structured logs: JSON for machines, colour for people."""

from __future__ import annotations

import logging.config
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from config.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Send the logs of this process, those of libraries included, to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        _without_nothing,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    pretty = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    _output.as_json = not pretty
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if pretty
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structured": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        *last,
                    ],
                }
            },
            "handlers": {
                "standard_error": {
                    "class": "logging.StreamHandler",
                    "stream": "ext://sys.stderr",
                    "formatter": "structured",
                }
            },
            "root": {"level": settings.log_level, "handlers": ["standard_error"]},
        }
    )


class _Output:
    """How this process writes its logs."""

    as_json = False


_output = _Output()


def write_request_line(level: int, facts: Mapping[str, Any]) -> bool:
    """Write the line of a request as all others look, in JSON; False where that is not asked for.

    There is one for each call of the API: on the way of other lines, each would cost as much as
    all else that is done about an answer.
    """
    if not _output.as_json:
        return False
    line = {name: value for name, value in facts.items() if value is not None}
    line |= {
        "event": "request",
        "logger": "signpost.request",
        "level": logging.getLevelName(level).lower(),
        "timestamp": datetime.now(UTC),
    }
    # One write of the whole line: lines of other processes may come between, but none within.
    stream = sys.stderr.buffer
    stream.write(orjson.dumps(line, option=_LINE_OPTIONS))
    stream.flush()
    return True


_LINE_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE


def _without_nothing(
    logger: object, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Leave out what is not known."""
    del logger, method
    return {name: value for name, value in event.items() if value is not None}
