"""Structured logs: JSON for machines, colour for people; nothing secret in either."""

from __future__ import annotations

import contextlib
import logging.config
import os
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from types import TracebackType
from typing import Any

import orjson
import structlog

from config.console import REQUEST_LOGGER, console_renderer
from config.masking import mask
from config.providers import provided
from config.settings import Settings

__all__ = [
    "REQUEST_LOGGER",
    "configure_logging",
    "level_of",
    "log_within",
    "quieten",
    "write_request_line",
]

_LINE_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
# What our own lines say beside their text, by `extra`. Of those of libraries nothing is known.
_EXTRA = ("dependency", "up", "seconds", "untold")
# Nobody else writes these, and times look suspicious.
_OURS = frozenset(("timestamp", "level", "logger"))
_Event = structlog.typing.EventDict


class _Output:
    """How this process writes its logs."""

    as_json = False
    # What is added to each line that is written within something, such as a request.
    within: Callable[[], Mapping[str, Any]] = staticmethod(dict)


_output = _Output()


def configure_logging(settings: Settings) -> None:
    """Send the logs of this process, those of libraries included, to standard error."""
    pretty = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    _output.as_json = not pretty
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(_EXTRA),
        structlog.processors.TimeStamper("%H:%M:%S" if pretty else "iso", utc=not pretty),
        structlog.stdlib.PositionalArgumentsFormatter(),
        _add_within,
        _without_nothing,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
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
                        structlog.processors.format_exc_info,
                        structlog.processors.StackInfoRenderer(),
                        _masked,
                        console_renderer() if pretty else _as_json,
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
            "loggers": {name: {"level": level} for name, level in settings.log_levels},
        }
    )
    # Each try of what sends reports and traces elsewhere, three to a failure.
    quieten("urllib3.connectionpool", logging.ERROR)
    logging.captureWarnings(True)
    _log_uncaught()
    _tell_of_providers()


def level_of(settings: Settings, logger: str) -> str:
    """The level that the settings name for a logger itself; `NOTSET` where its parent's counts."""
    return dict(settings.log_levels).get(logger, "NOTSET")


def quieten(logger: str, level: int) -> None:
    """Let a logger say less than all others, unless `LOG_LEVELS` names it."""
    found = logging.getLogger(logger)
    if found.level == logging.NOTSET:
        found.setLevel(level)


def log_within(facts: Callable[[], Mapping[str, Any]]) -> None:
    """Add `facts()` to each line: what this process is doing where it is written."""
    _output.within = facts


def write_request_line(level: int, facts: Mapping[str, Any]) -> None:
    """Write the line of a request, of which every fact is known to be no secret.

    There is one for each call of the API: as JSON it goes straight to its place, as on the way of
    other lines it would cost as much as all else that is done about an answer.
    """
    if not _output.as_json:
        structlog.stdlib.get_logger(REQUEST_LOGGER).log(level, "request", **facts)
        return
    line = {name: value for name, value in facts.items() if value is not None}
    line |= {
        "event": "request",
        "logger": REQUEST_LOGGER,
        "level": logging.getLevelName(level).lower(),
        "timestamp": datetime.now(UTC),
    }
    stream = sys.stderr.buffer
    # Whoever reads them may be gone; the answer is not to be lost with its line.
    with contextlib.suppress(OSError):
        # One write of the whole line: lines of other processes may come between, but none within.
        stream.write(orjson.dumps(line, option=_LINE_OPTIONS))
        stream.flush()


@cache
def _tell_of_providers() -> None:
    """Say once which settings go by somebody else's name."""
    for setting, name in provided(os.environ).items():
        logging.getLogger(__name__).info("%s is taken from %s", setting, name)


def _add_within(logger: object, method: str, event: _Event) -> _Event:
    del logger, method
    return {**_output.within(), **event}


def _without_nothing(logger: object, method: str, event: _Event) -> _Event:
    """Leave out what is not known."""
    del logger, method
    return {name: value for name, value in event.items() if value is not None}


def _masked(logger: object, method: str, event: _Event) -> _Event:
    """Take out what looks secret or personal, whoever wrote it: the last line of defence."""
    del logger, method
    return {name: value if name in _OURS else _masked_value(value) for name, value in event.items()}


def _masked_value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask(value if isinstance(value, str) else repr(value))


def _as_json(logger: object, method: str, event: _Event) -> str:
    del logger, method
    return orjson.dumps(event).decode()


def _log_uncaught() -> None:
    """Have what nobody caught written as a line, too, and not as text among lines."""
    log = logging.getLogger("signpost.uncaught")

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.critical("uncaught exception", exc_info=(kind, error, trace))

    def tell_of_thread(about: threading.ExceptHookArgs) -> None:
        if about.exc_value is not None and not issubclass(about.exc_type, SystemExit):
            tell(about.exc_type, about.exc_value, about.exc_traceback)

    sys.excepthook = tell
    threading.excepthook = tell_of_thread
