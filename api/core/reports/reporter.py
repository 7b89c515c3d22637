"""Tells a Sentry of the unexpected errors of one process.

Each is logged somewhere, as an error: from there it goes on, so that no code that handles errors
knows of this. The SDK's own integration is used where jobs are done. In a web worker it would cost
each request more than the request itself, and note nothing: our handler has the error first
(docs/decisions/0027-errors.md).
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, cast

import sentry_sdk
from sentry_sdk.utils import event_from_exception

from api import __version__
from api.core.errors import DomainError
from api.core.reports import facts as told
from api.core.reports.events import add_facts, add_request, add_trace, masked
from api.core.reports.facts import Running
from api.core.reports.storms import Storms
from api.core.reports.trails import integrations_of, watch_statements
from api.core.tracing.spans import running_trace_id
from config.settings import Settings

if TYPE_CHECKING:
    from sentry_sdk._types import Event, Hint

# Whoever stops a process waits for it.
_FLUSH_SECONDS = 2.0
# What waits to be sent, and what is sent with an error that has a trail.
_QUEUE_EVENTS, _TRAIL_LENGTH = 100, 20
# What these call errors is a dependency that is away, at each attempt; or an integration tells it.
_SILENT = ("celery.app.trace", "celery.worker.consumer", "kombu", "sentry_sdk", "urllib3")
# The one place that answers 500.
_ANSWERS = "api.core.problems"


class Reporter:
    """Of one process, from `start()` to `stop()`."""

    def __init__(
        self, settings: Settings, dsn: str, process: str, running: Running | None = None
    ) -> None:
        self._settings = settings
        self._dsn = dsn
        self._process = process
        self._running = running
        self._storms = Storms()
        self._handler = _ErrorHandler(self._tell_record)

    def start(self) -> None:
        """Begin, in the process that will tell: what sends is a thread of it."""
        trail = self._running is None
        sentry_sdk.init(
            self._dsn,
            release=f"signpost@{__version__}",
            environment=self._settings.sentry_environment,
            before_send=self._before_send,
            before_breadcrumb=_without_data,
            integrations=integrations_of(self._process),
            default_integrations=False,
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            send_default_pii=False,
            include_local_variables=False,
            max_breadcrumbs=_TRAIL_LENGTH if trail else 0,
            propagate_traces=False,
            transport_queue_size=_QUEUE_EVENTS,
            enable_backpressure_handling=False,
            enable_metrics=False,
            spotlight=False,
        )
        if trail:
            watch_statements()
        logging.getLogger().addHandler(self._handler)

    def stop(self) -> None:
        """End; what is not sent in time is lost."""
        logging.getLogger().removeHandler(self._handler)
        sentry_sdk.get_client().close(timeout=_FLUSH_SECONDS)

    def tell(self, error: Exception) -> None:
        """Tell of an error that nobody logs."""
        self._capture(error, {"type": "process", "handled": False}, _place_of(error), {})

    def _tell_record(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_SILENT):
            return
        message = str(record.msg)
        logged: dict[str, Any] = {
            "logger": record.name,
            "level": record.levelname.lower(),
            # gunicorn's arguments are addresses that were asked for.
            "logentry": {"message": message}
            | ({} if record.name.startswith("gunicorn") else {"formatted": record.getMessage()}),
        }
        error = record.exc_info[1] if record.exc_info else None
        answered = record.name == _ANSWERS
        if answered:
            logged["tags"] = {"status": "500"}
        mechanism = {"type": "logging", "handled": not answered}
        kind = (record.name, message, *_place_of(error))
        self._capture(error, mechanism, kind, logged)

    def _capture(
        self,
        error: BaseException | None,
        mechanism: dict[str, Any],
        kind: Hashable,
        more: dict[str, Any],
    ) -> None:
        """Tell of an error, unless it is expected, or one of very many."""
        if _is_expected(error):
            return
        held = self._storms.pass_through(kind)
        if held is None:
            return
        event: Event = {}
        hint: Hint = {}
        if error is not None:
            options = sentry_sdk.get_client().options
            event, hint = event_from_exception(error, options, mechanism)
        event.update(cast("Event", more))
        sentry_sdk.capture_event(event, hint | {"held": held})

    def _before_send(self, event: Event, hint: Hint) -> Event | None:
        """What leaves the process, or nothing. Here, too, as integrations tell of errors."""
        error = hint["exc_info"][1] if "exc_info" in hint else None
        held = hint.get("held")
        if held is None:
            if _is_expected(error):
                return None
            held = self._storms.pass_through(_place_of(error))
            if held is None:
                return None
        anything = cast(dict[str, Any], event)
        anything.pop("server_name", None)
        tags = anything.setdefault("tags", {})
        tags["process"] = self._process
        if held:
            tags["held_back"] = str(held)
        if error is not None:
            add_facts(anything, error)
        request = self._running() if self._running else None
        if request is not None:
            add_request(anything, request)
        elif trace_id := running_trace_id():
            add_trace(anything, trace_id)
        return cast("Event", masked(anything))


class _ErrorHandler(logging.Handler):
    """Passes on the log's errors."""

    def __init__(self, tell: Any) -> None:
        super().__init__(logging.ERROR)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Tell; whatever happens, nobody who logs is disturbed."""
        try:
            self._tell(record)
        except Exception:
            self.handleError(record)


def _is_expected(error: BaseException | None) -> bool:
    """Whether a client made a mistake, or a dependency is away: the state of those is logged and
    measured, and does not fail by a mistake in here."""
    return error is not None and (isinstance(error, DomainError) or told.is_away(error))


def _place_of(error: BaseException | None) -> tuple[Hashable, ...]:
    """What errors of the same kind have in common: their type and where they were raised."""
    if error is None:
        return ()
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace else ()
    return type(error), *where


def _without_data(crumb: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
    """A step before an error, without the keys and hosts that it was about."""
    del hint
    return {name: value for name, value in crumb.items() if name != "data"}
