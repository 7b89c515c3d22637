"""Samples this host every few seconds, and adds what it finds to the minute that it was in.

Of all processes of a host one does it: the one that holds the lock of the folder.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from api.core.embedded.locks import ProcessLock
from api.operations.status.counters import GENERATION, growth
from api.operations.status.figures import Figures, add
from api.operations.status.local import MinuteFiles, read_json, write_json
from api.operations.status.shared import SharedMinutes

log = logging.getLogger(__name__)

# After a longer silence nobody can say in which minutes it was counted.
_LONGEST_SPAN_SECONDS = 60.0
_SILENT_SAMPLES = 3
_UNSENT_MINUTES = 60
_AT = "at"


class Sampler:
    """One process's part: it tries to be the one, and then samples until it stops."""

    def __init__(
        self,
        folder: Path,
        local: MinuteFiles,
        shared: SharedMinutes | None,
        *,
        count: Callable[[], Figures],
        look: Callable[[], Figures],
        look_once: Callable[[], Figures],
        seconds: float,
        stands_in: bool = False,
    ) -> None:
        """`count` tells what was counted since ever, `look` how it is now, `look_once` what is told
        once a minute. Who stands in samples only while no other process of this host does."""
        self._folder = folder
        self._counted = folder / "counted.json"  # the counts of the last sample, and its moment
        self._local = local
        self._shared = shared
        self._count = count
        self._look = look
        self._look_once = look_once
        self._seconds = seconds
        self._stands_in = stands_in
        self._sampled = 0.0
        self._lock = ProcessLock(folder / "lock")
        self._unsent: dict[int, Figures] = {}
        self._stopped = threading.Event()
        self._failing = False

    def start(self) -> None:
        """Begin, beside what this process does."""
        threading.Thread(target=self._run, name="status-sampler", daemon=True).start()

    def stop(self) -> None:
        """Let another process of this host be the one."""
        self._stopped.set()
        self._let_go()
        if self._shared is not None:
            self._shared.close()

    def sample(self) -> bool:
        """Take one sample, unless another process of this host does that."""
        try:
            if (self._stands_in and self._others_sample()) or not self._take_lock():
                return False
            self._sample(time.time())
            self._sampled = self._last_sample()
            self._failing = False
        except Exception as error:
            # Whatever it is, it must not end the pictures for good; it is told once.
            if not self._failing:
                log.warning("the status page gets no figures of this host: %s", error)
            self._failing = True
        finally:
            if self._stands_in:
                self._let_go()
        return True

    def _run(self) -> None:
        while not self._stopped.wait(self._until_next()):
            self.sample()

    def _until_next(self) -> float:
        """Samples are taken at the same moments on all hosts: none lies in two minutes."""
        return self._seconds - time.time() % self._seconds

    def _others_sample(self) -> bool:
        last = self._last_sample()
        return last > self._sampled and time.time() - last < _SILENT_SAMPLES * self._seconds

    def _last_sample(self) -> float:
        try:
            return self._counted.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _sample(self, now: float) -> None:
        figures = self._counted_since(now)
        add(figures, self._look())
        figures["samples"] = 1.0
        minute = int((now - self._seconds / 2) // 60)
        if not self._local.knows(minute):
            add(figures, self._look_once())
        self._local.add(minute, figures)
        self._send(minute, figures)

    def _counted_since(self, now: float) -> Figures:
        counts = self._count()
        before = read_json(self._counted)
        if before is None:
            write_json(self._counted, counts | {_AT: now})
            return {}
        span = now - before.pop(_AT, 0.0)
        grown, after = growth(before, counts)
        write_json(self._counted, after | {_AT: now})
        if not 0 < span <= _LONGEST_SPAN_SECONDS:
            return {}
        # Where no process counts, nothing is known: that is not nought.
        return grown | ({"seconds": span} if GENERATION in counts else {})

    def _send(self, minute: int, figures: Figures) -> None:
        if self._shared is None:
            return
        add(self._unsent.setdefault(minute, {}), figures)
        for old in sorted(self._unsent)[:-_UNSENT_MINUTES]:
            del self._unsent[old]
        for waiting in sorted(self._unsent):
            try:
                self._shared.add(waiting, self._unsent[waiting])
            except RedisTimeout:
                # Perhaps it was added all the same; twice would be worse than not at all.
                del self._unsent[waiting]
                return
            except (RedisError, OSError):
                return  # it waits; this host's own file has it, and the page says what is away
            del self._unsent[waiting]

    def _take_lock(self) -> bool:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._lock.acquire()

    def _let_go(self) -> None:
        self._lock.release()
