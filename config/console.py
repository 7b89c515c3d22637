"""How a line of the log looks in a terminal: time, level, what happened, and its facts."""

from __future__ import annotations

import structlog
from structlog.dev import (
    BRIGHT,
    CYAN,
    DIM,
    GREEN,
    MAGENTA,
    RED,
    RED_BACK,
    RESET_ALL,
    YELLOW,
    Column,
    KeyValueColumnFormatter,
)

REQUEST_LOGGER = "signpost.request"
_LEVELS = {"debug": DIM, "info": GREEN, "warning": YELLOW, "error": RED, "critical": RED_BACK}
_STATUSES = {2: GREEN, 3: CYAN, 4: YELLOW, 5: RED}
# Of what goes well nobody looks for a request by its id.
_ONLY_OF_FAILURES = ("request_id", "trace_id", "workspace")
_OWN = ("api.", "signpost.")


def console_renderer() -> structlog.typing.Processor:
    """What writes a line for people."""
    plain = KeyValueColumnFormatter(
        key_style=None, value_style="", reset_style=RESET_ALL, value_repr=str
    )
    facts = KeyValueColumnFormatter(
        key_style=DIM, value_style=MAGENTA, reset_style=RESET_ALL, value_repr=str
    )
    render = structlog.dev.ConsoleRenderer(
        columns=[
            Column("", facts),
            Column("timestamp", _Styled(DIM)),
            Column("level", _level),
            Column("event", plain),
        ],
        exception_formatter=structlog.dev.plain_traceback,
    )

    def for_people(
        logger: object, method: str, event: structlog.typing.EventDict
    ) -> str | bytes | bytearray | structlog.typing.EventDict:
        name = str(event.pop("logger", ""))
        if name == REQUEST_LOGGER and "duration_ms" in event:
            event = _as_request(event)
        elif name and not name.startswith(_OWN):
            event["logger"] = name.removesuffix(".error")  # as gunicorn calls what is none
        return render(logger, method, event)

    return for_people


class _Styled:
    """A value without its name, in one style."""

    def __init__(self, style: str) -> None:
        self._style = style

    def __call__(self, key: str, value: object) -> str:
        del key
        return f"{self._style}{value}{RESET_ALL}"


def _level(key: str, value: object) -> str:
    del key
    name = str(value)
    return f"{_LEVELS.get(name, '')}{name:<8}{RESET_ALL}"


def _as_request(event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A request as one reads it: `GET 200 3.1 ms /api/v1/links`."""
    status = int(event.pop("status"))
    style = _STATUSES.get(status // 100, "")
    method, duration_ms = event.pop("method"), event.pop("duration_ms")
    route = event.pop("route", "no route")
    if status < 400:
        for name in _ONLY_OF_FAILURES:
            event.pop(name, None)
    event["event"] = (
        f"{method:<6} {style}{status}{RESET_ALL} {duration_ms:>8.1f} ms  {BRIGHT}{route}{RESET_ALL}"
    )
    return event
