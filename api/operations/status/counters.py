"""What all processes of this host have counted, read from the files in which they count.

prometheus_client has each process count in files of its own, which outlive it; here the few counts
that the status page shows are added up, without making metrics of the many others.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from api.core.metrics import bounds
from api.core.metrics.files import read_files, read_values
from api.operations.status.figures import Figures, add


class Times(NamedTuple):
    """A histogram: how the names of its buckets begin, and where each ends, in seconds."""

    beginning: str
    bounds: tuple[float, ...]


GENERATION = "generation"
# Counted in files of their own, which nobody makes anew.
LASTING = frozenset({"clicks_lost"})
REDIRECT_TIME = Times("redirect_time.", bounds.REDIRECTS)
CALL_TIME = Times("call_time.", bounds.REQUESTS)
CLICK_DELAY = Times("click_delay.", bounds.CLICK_DELAYS)


class _Entry(NamedTuple):
    """One value of a file."""

    name: str  # of the sample: with `_total`, `_bucket`, ...
    labels: dict[str, str]


def _redirects(entry: _Entry) -> Iterator[str]:
    level, status = entry.labels.get("level", "other"), entry.labels.get("status", "")
    yield f"redirects.{level}"
    if status.startswith("5"):
        yield "redirects_failed"
    elif status.startswith("3"):
        yield "clicks_recorded"


def _calls(entry: _Entry) -> Iterator[str]:
    status = entry.labels.get("status", "")[:1]
    yield f"calls.{status}xx" if status in "2345" else "calls.2xx"


def _bucket(times: Times) -> Callable[[_Entry], Iterator[str]]:
    def name(entry: _Entry) -> Iterator[str]:
        if entry.name.endswith("_bucket"):
            yield times.beginning + entry.labels["le"]

    return name


def _counted(entry: _Entry) -> Iterator[str]:
    del entry
    yield "clicks_counted"


_NAMES: dict[str, Callable[[_Entry], Iterator[str]]] = {
    "signpost_redirects": _redirects,
    "signpost_redirect_duration_seconds": _bucket(REDIRECT_TIME),
    "signpost_requests": _calls,
    "signpost_request_duration_seconds": _bucket(CALL_TIME),
    "signpost_ingest_clicks": _counted,
    "signpost_click_delay_seconds": _bucket(CLICK_DELAY),
}
_POOL_NAME = "signpost_db_pool_"
_POOL = tuple(f'["{_POOL_NAME}{what}", ' for what in ("size", "checked_out", "waiting"))
_VALUES_A_TURN = 100
_REMEMBERED = 8_192
_BEGINNINGS = tuple(f'["{name}", ' for name in _NAMES)


class CounterFiles:
    """The folder of prometheus_client's files."""

    def __init__(self, folder: Path, pause: Callable[[], None] = lambda: None) -> None:
        """What is done beside this has its turn by `pause`, after each so many values."""
        self._folder = folder
        self._pause = pause

    def read(self) -> Figures:
        """All counts, since the files are there; and which files these are."""
        counted: Figures = {}
        if self._folder.is_dir():
            counted[GENERATION] = self._generation()
            for data in self._files("counter_", "histogram_"):
                add(counted, self._read_file(data))
        return counted

    def pools(self) -> Figures:
        """How much of the connections that a process keeps is in use, and who waits for one, where
        it is most."""
        found: Figures = {}
        for data in self._files("gauge_livesum_"):
            pools: dict[str, dict[str, float]] = defaultdict(dict)
            for key, value in self._values(data):
                if key.startswith(_POOL):
                    metric, _, labels = json.loads(key)[:3]
                    pools[json.dumps(labels)][metric.removeprefix(_POOL_NAME)] = value
            for pool in pools.values():
                share = pool.get("checked_out", 0.0) / max(pool.get("size", 1.0), 1.0)
                waiting = pool.get("waiting", 0.0)
                add(found, {"max.pool_share": share, "max.pool_waiting": waiting})
        return found

    def _files(self, *beginnings: str) -> list[bytes]:
        """Those whose names begin so, as they are at one moment."""
        if not self._folder.is_dir():
            return []
        found = read_files(self._folder)
        return [data for name, data in found.items() if name.startswith(beginnings)]

    def _read_file(self, data: bytes) -> Figures:
        counted: Figures = {}
        for key, value in self._values(data):
            for field in _fields_of(key):
                counted[field] = counted.get(field, 0.0) + value
        return counted

    def _values(self, data: bytes) -> list[tuple[str, float]]:
        """All that is in a file; nothing if that cannot be read now."""
        found = []
        try:
            for number, (key, value, *_) in enumerate(read_values(data)):
                if number % _VALUES_A_TURN == 0:
                    self._pause()
                found.append((key, value))
        except (RuntimeError, ValueError, LookupError, struct.error):
            return []  # of a process that is adding a name: it is read later
        return found

    def _generation(self) -> float:
        """A number in a file beside the counts: who makes them anew takes it away with them."""
        path = self._folder / "generation"
        with contextlib.suppress(OSError, ValueError):
            return float(path.read_text())
        number = float(secrets.randbits(48))
        path.write_text(str(number))
        return number


@lru_cache(_REMEMBERED)
def _fields_of(key: str) -> tuple[str, ...]:
    """What a value of a file is counted as; the same in the files of all processes."""
    if not key.startswith(_BEGINNINGS):
        return ()
    metric, name, labels = json.loads(key)[:3]
    return tuple(_NAMES[metric](_Entry(name, labels)))


def growth(before: Figures, now: Figures) -> tuple[Figures, Figures]:
    """What was counted between two readings, and what the next one is to be compared with."""
    if before.get(GENERATION) != now.get(GENERATION):
        before = {name: value for name, value in before.items() if name in LASTING}
    # A count does not shrink: then a file could not be read, and soon it is there again.
    after = {name: max(value, before.get(name, 0.0)) for name, value in now.items()}
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    grown.pop(GENERATION, None)
    return {name: value for name, value in grown.items() if value > 0}, before | after
