"""Keep a few named services running: start in order, restart what dies, stop in reverse."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Protocol, Self

from api.core.embedded.errors import EmbeddedError

PROBE_SECONDS = 5.0
FAILED_PROBES = 3
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
STEADY_SECONDS = 60.0


class Service(Protocol):
    """What is supervised. None of these calls may block for long, but `stop`."""

    @property
    def name(self) -> str: ...
    @property
    def process_id(self) -> int | None: ...
    def start(self) -> None: ...
    def ready(self) -> bool: ...
    def responds(self) -> bool: ...
    def exit_status(self) -> int | None: ...
    def complaint(self) -> str: ...
    def stop(self) -> None: ...


class StopRequested(Exception):
    """Somebody asked us to stop while we were waiting for something."""


class StopSignals:
    """SIGINT, SIGTERM and SIGHUP as a fact to look at; a wait ends when one arrives."""

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._note) for number in self._NUMBERS}
        # Without a handler of its own, the end of a child would not end a wait.
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float) -> bool:
        """Sleep, at most until a signal (of a child, too); tell whether to stop."""
        if not self.requested and select.select([self._reader], [], [], seconds)[0]:
            os.read(self._reader, 512)
        return self.requested

    def check(self, seconds: float = 0) -> None:
        """Sleep like `wait`, and raise `StopRequested` if it is time to stop."""
        if self.wait(seconds):
            raise StopRequested

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True


@dataclass
class _Watch:
    """What we know about one service."""

    service: Service
    started: float = field(default_factory=time.monotonic)
    probed: float = field(default_factory=time.monotonic)
    failed_probes: int = 0
    deaths: int = 0
    restart_at: float | None = None

    def delay_seconds(self, now: float) -> float:
        """How long to wait before the next start; a life long enough clears the record."""
        if now - self.started > STEADY_SECONDS:
            self.deaths = 0
        self.deaths += 1
        delay: float = FIRST_DELAY_SECONDS * 2 ** (self.deaths - 1)
        return min(delay, LONGEST_DELAY_SECONDS)


class Supervisor:
    """The services of one `scripts/start`."""

    def __init__(self, signals: StopSignals, report: Callable[[str], None]) -> None:
        self._signals = signals
        self._report = report
        self._watches: list[_Watch] = []

    def start(self, service: Service, stop_after: Service | None = None) -> None:
        """Start a service; stopping goes in the reverse order, or as `stop_after` says."""
        watched = [watch.service for watch in self._watches]
        place = len(watched) if stop_after is None else watched.index(stop_after)
        # Noted before its start: a failure half-way through must be undone, too.
        self._watches.insert(place, _Watch(service))
        service.start()

    def wait_ready(self, service: Service, seconds: float) -> None:
        """Wait until `service` does its work.

        Raises:
            EmbeddedError: it ended, or did not get there in time.
            StopRequested: a signal came first.
        """
        deadline = time.monotonic() + seconds
        while not service.ready():
            status = service.exit_status()
            if status is not None:
                raise EmbeddedError(f"{service.name} did not start: {service.complaint()}")
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{service.name} is not ready after {seconds:.0f} s")
            self._signals.check(0.03)

    def run(self) -> None:
        """Restart what dies or hangs, until a signal says stop."""
        while not self._signals.wait(1.0):
            for watch in self._watches:
                self._look_after(watch, time.monotonic())

    def stop(self) -> None:
        """Stop everything, last started first; one that fails to stop does not keep the rest."""
        while self._watches:
            service = self._watches.pop().service
            try:
                service.stop()
            except OSError as error:
                self._report(f"{service.name} could not be stopped: {error}")

    def _look_after(self, watch: _Watch, now: float) -> None:
        if watch.restart_at is not None:
            if now >= watch.restart_at:
                self._restart(watch, now)
        elif watch.service.exit_status() is not None:
            self._schedule(watch, now, f"ended with status {watch.service.exit_status()}")
        elif now - watch.probed >= PROBE_SECONDS:
            self._probe(watch, now)

    def _schedule(self, watch: _Watch, now: float, why: str) -> None:
        delay = watch.delay_seconds(now)
        watch.restart_at = now + delay
        self._report(f"{watch.service.name} {why}; it is started again in {delay:.1f} s")

    def _restart(self, watch: _Watch, now: float) -> None:
        watch.restart_at, watch.started, watch.probed, watch.failed_probes = None, now, now, 0
        try:
            watch.service.start()
        except (EmbeddedError, OSError) as error:
            self._schedule(watch, now, f"did not start ({error})")

    def _probe(self, watch: _Watch, now: float) -> None:
        watch.failed_probes = 0 if watch.service.responds() else watch.failed_probes + 1
        watch.probed = now
        process_id = watch.service.process_id
        if watch.failed_probes >= FAILED_PROBES and process_id is not None:
            self._report(f"{watch.service.name} did not answer {FAILED_PROBES} times")
            os.kill(process_id, signal.SIGKILL)  # its end is seen in the next round
