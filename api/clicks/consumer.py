"""The loop of a consumer: take segments from a source, count them, acknowledge them.

While one batch is written the next is prepared: the database's time and ours overlap.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Protocol

from api.clicks.ingest import Batch, Ingest, Outcome, RawSegment
from api.core.errors import Unavailable

log = logging.getLogger(__name__)

_IDLE_SECONDS = 0.05
_FIRST_BACKOFF_SECONDS = 0.25
_LONGEST_BACKOFF_SECONDS = 5.0
_DRAIN_SECONDS = 15.0
# Under load nothing is idle, but counts must be compacted all the same.
_BUSY_SECONDS = 30.0


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


class Meter(Protocol):
    """What measures a consumer."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Measure `prepare` or `write` of a batch."""

    def note(self, outcome: Outcome) -> None:
        """A batch is written."""


class Consumer:
    """Counts what its source delivers until it is told to stop, and then what is still there."""

    def __init__(
        self,
        source: Source,
        ingest: Ingest,
        housekeeping: Callable[[], None] = lambda: None,
        *,
        batch_clicks: int = 50_000,
        beat: Callable[[], None] = lambda: None,
        meter: Meter | None = None,
    ) -> None:
        """`batch_clicks` is about how many clicks one transaction takes under load: the more, the
        fewer counts each click costs, and the more memory. `beat` is called each time round,
        `meter` measures."""
        self.total = Outcome()
        self._source = source
        self._ingest = ingest
        self._housekeeping = housekeeping
        self._batch_clicks = batch_clicks
        self._beat = beat
        self._meter = meter
        self._stopping = False
        self._backoff_seconds = 0.0
        self._kept_house_at = time.monotonic()
        self._writer = ThreadPoolExecutor(1, "writer")
        self._writing: tuple[Sequence[RawSegment], Future[Outcome]] | None = None

    def stop(self) -> None:
        """End `run` soon. Safe in a signal handler: it only sets a flag."""
        self._stopping = True

    def run(self) -> None:
        """Consume until `stop()`, then drain."""
        while not self._stopping:
            self._beat()
            if not self._try_step():
                self._sleep(self._backoff_seconds or _IDLE_SECONDS)
        if self._backoff_seconds:
            return  # nothing can be counted now; what waits keeps
        self._source.adopt_now()
        deadline = time.monotonic() + _DRAIN_SECONDS
        while time.monotonic() < deadline and self._try_step():
            pass
        self._give_up()

    def drain(self) -> None:
        """Count all that waits.

        Raises:
            Unavailable: a database is away.
        """
        self._source.adopt_now()
        try:
            while self._step():
                pass
        finally:
            self._give_up()

    def _try_step(self) -> bool:
        """One step, whatever happens: a consumer that fails tries again later and loses nothing."""
        try:
            worked = self._step()
            now = time.monotonic()
            if not worked or now - self._kept_house_at > _BUSY_SECONDS:
                self._kept_house_at = now
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
            self._give_up()
            return False
        if self._backoff_seconds:
            log.warning("clicks are counted again")
            self._backoff_seconds = 0.0
        return worked

    def _step(self) -> bool:
        """Prepare a batch and, once the one before is written, let it be; whether there was one."""
        segments = self._source.take(self._batch_clicks)
        batch = self._prepare(segments) if segments else None
        worked = self._settle()
        if batch is not None:
            self._writing = segments, self._writer.submit(self._write, batch)
            if self._backoff_seconds:
                self._settle()  # to know whether things work again before more is taken
        return worked or batch is not None

    def _settle(self) -> bool:
        """Wait for the batch that is being written, and acknowledge it; whether there was one."""
        if self._writing is None:
            return False
        (segments, written), self._writing = self._writing, None
        outcome = written.result()
        for segment in segments:
            reason = outcome.rejected.get(segment.name)
            if reason is None:
                self._source.acknowledge(segment)
            else:
                self._source.reject(segment, reason)
        self.total.add(outcome)
        if self._meter is not None:
            self._meter.note(outcome)
        return True

    def _prepare(self, segments: Sequence[RawSegment]) -> Batch:
        if self._meter is None:
            return self._ingest.prepare(segments)
        with self._meter.stage("prepare"):
            return self._ingest.prepare(segments)

    def _write(self, batch: Batch) -> Outcome:
        if self._meter is None:
            return self._ingest.write(batch)
        with self._meter.stage("write"):
            return self._ingest.write(batch)

    def _give_up(self) -> None:
        """Let go of what is not settled; it is delivered again."""
        try:
            self._settle()
        except Exception as error:
            log.debug("a batch is given up: %s", error)
        self._source.release()

    def _sleep(self, seconds: float) -> None:
        # In short pieces: a signal handler's flag must not wait for the end of a long backoff.
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _IDLE_SECONDS))
