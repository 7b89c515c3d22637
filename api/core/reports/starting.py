"""Who tells of the errors of a process: nobody, and at no cost, unless a Sentry is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from config.settings import Settings

if TYPE_CHECKING:
    from api.core.reports.facts import Running
    from api.core.reports.reporter import Reporter


def make_reporter(
    settings: Settings, process: str, running: Running | None = None
) -> Reporter | None:
    """What tells of the errors of a process, from `start()` to `stop()`; None without a DSN.

    Its SDK is loaded here, so that workers that are forked later share it; it has threads, and is
    started after the fork. `running` tells of the request in which an error happens.
    """
    if settings.sentry_dsn is None:
        return None
    # A process that tells nobody does not load what it takes to do so.
    from api.core.reports.reporter import Reporter  # noqa: PLC0415

    return Reporter(settings, settings.sentry_dsn, process, running)


@contextmanager
def reporting(settings: Settings, process: str) -> Iterator[None]:
    """Tell of what is logged as an error within this context."""
    reporter = make_reporter(settings, process)
    if reporter is None:
        yield
        return
    reporter.start()
    try:
        yield
    finally:
        reporter.stop()


def report(settings: Settings, process: str, error: Exception) -> None:
    """Tell of the error by which a process ends."""
    reporter = make_reporter(settings, process)
    if reporter is not None:
        reporter.start()
        reporter.tell(error)
        reporter.stop()
