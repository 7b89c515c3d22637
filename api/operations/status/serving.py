"""Makes the parts of the status page as the settings want them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from api.clicks.spool import Spool
from api.operations.status.access import OFF, PRIVATE
from api.operations.status.counters import CounterFiles
from api.operations.status.figures import Figures
from api.operations.status.local import MinuteFiles
from api.operations.status.sampler import Sampler
from api.operations.status.shared import SharedMinutes
from api.operations.status.watching import HostWatch, ProcessWatch
from config.settings import Settings

Ready = Callable[[], tuple[bool, Mapping[str, Any]]]


def is_served(settings: Settings) -> bool:
    """Whether anybody can see the page; nothing is sampled where nobody can."""
    if settings.status_page == PRIVATE:
        return settings.metrics_token is not None
    return settings.status_page != OFF


def make_minutes(settings: Settings) -> tuple[MinuteFiles, SharedMinutes | None]:
    """Where minutes are kept: on this host, and for all hosts where there is Redis."""
    shared = None
    if settings.redis_url is not None:
        shared = SharedMinutes(settings.redis_url, settings.redis_timeout_seconds)
    return MinuteFiles(settings.status_path), shared


def make_host_sampler(settings: Settings, spool: Spool, ready: Ready) -> Sampler:
    """For a web worker, which sees everything of its host."""
    counters = _counters(settings)
    processes = ProcessWatch(settings.signpost_home)
    watch = HostWatch(settings.load_path, spool.state, counters.pools, ready, processes)

    def count() -> Figures:
        return counters.read() | watch.count()

    return Sampler(
        settings.status_path,
        *make_minutes(settings),
        count=count,
        look=watch.look,
        seconds=settings.status_sample_seconds,
        look_once=watch.look_once,
    )


def make_stand_in(settings: Settings) -> Sampler:
    """For a process that tells what is counted on its host where no web worker does."""
    return Sampler(
        settings.status_path,
        *make_minutes(settings),
        count=_counters(settings).read,
        look=ProcessWatch(settings.signpost_home).look,
        seconds=settings.status_sample_seconds,
        look_once=lambda: {"hosts": 1.0},
        stands_in=True,
    )


@contextmanager
def sampled(settings: Settings) -> Iterator[None]:
    """Meanwhile tell the status page of a host that may have no web workers, if anybody sees it."""
    if not is_served(settings):
        yield
        return
    sampler = make_stand_in(settings)
    sampler.start()
    try:
        yield
    finally:
        sampler.stop()


def _counters(settings: Settings) -> CounterFiles:
    # The event loop of a web worker has other things to do between two files.
    return CounterFiles(settings.metrics_path, pause=lambda: time.sleep(0))
