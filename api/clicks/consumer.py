"""The loop of a consumer: take segments from a source, count them, acknowledge them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from api.clicks.ingest import Ingest, Outcome, RawSegment
from api.core.errors import Unavailable

log = logging.getLogger(__name__)

# Clicks in one transaction: the more there are, the fewer counters each click costs, and the
# longer a lock is held.
_MOST_CLICKS = 20_000
_IDLE_SECONDS = 0.05
_FIRST_BACKOFF_SECONDS = 0.25
_LONGEST_BACKOFF_SECONDS = 5.0
_DRAIN_SECONDS = 15.0


class Source(Protocol):
    """Where segments come from. What is taken and not acknowledged is delivered again."""

    def take(self, most_clicks: int) -> list[RawSegment]:
        """Some segments of about so many clicks together, or none."""

    def acknowledge(self, segment: RawSegment) -> None:
        """A segment is counted."""

    def reject(self, segment: RawSegment, reason: str) -> None:
        """A segment can never be counted as it is."""

    def release(self) -> None:
        """Give back what is taken and not settled."""

    def adopt_now(self) -> None:
        """Make what dead processes left behind available to the next `take`."""


class Consumer:
    """Counts what its source delivers until it is told to stop, and then what is still there."""

    def __init__(
        self, source: Source, ingest: Ingest, housekeeping: Callable[[], None] = lambda: None
    ) -> None:
        self.total = Outcome()
        self._source = source
        self._ingest = ingest
        self._housekeeping = housekeeping
        self._stopping = False
        self._backoff_seconds = 0.0

    def stop(self) -> None:
        """End `run` soon. Safe in a signal handler: it only sets a flag."""
        self._stopping = True

    def run(self) -> None:
        """Consume until `stop()`, then drain."""
        while not self._stopping:
            if not self._try_step():
                self._sleep(self._backoff_seconds or _IDLE_SECONDS)
        if self._backoff_seconds:
            return  # nothing can be counted now; what waits keeps
        self._source.adopt_now()
        deadline = time.monotonic() + _DRAIN_SECONDS
        while time.monotonic() < deadline and self._try_step():
            pass

    def drain(self) -> None:
        """Count all that waits.

        Raises:
            Unavailable: a database is away.
        """
        self._source.adopt_now()
        while self._step():
            pass

    def _try_step(self) -> bool:
        """One step, whatever happens: a consumer that fails tries again later and loses nothing."""
        try:
            worked = self._step()
            if not worked:
                self._housekeeping()
        except Exception as error:
            if not self._backoff_seconds:
                unexpected = not isinstance(error, Unavailable)
                log.error(
                    "clicks wait, as they cannot be counted now: %s", error, exc_info=unexpected
                )
            self._backoff_seconds = min(
                max(self._backoff_seconds * 2, _FIRST_BACKOFF_SECONDS), _LONGEST_BACKOFF_SECONDS
            )
            return False
        if self._backoff_seconds:
            log.warning("clicks are counted again")
            self._backoff_seconds = 0.0
        return worked

    def _step(self) -> bool:
        """Count one batch; whether there was one."""
        segments = self._source.take(_MOST_CLICKS)
        if not segments:
            return False
        try:
            outcome = self._ingest.ingest(segments)
            for segment in segments:
                reason = outcome.rejected.get(segment.name)
                if reason is None:
                    self._source.acknowledge(segment)
                else:
                    self._source.reject(segment, reason)
        finally:
            self._source.release()
        self.total.add(outcome)
        return True

    def _sleep(self, seconds: float) -> None:
        # In short pieces: a signal handler's flag must not wait for the end of a long backoff.
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _IDLE_SECONDS))
