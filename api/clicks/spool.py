"""The spool of one worker process: each click is on the disk before its visitor is answered.

A write reaches the kernel, which outlives the process; it is not flushed to the medium, so a power
failure may cost the last moments. Past the bound on the folder's size, and where the disk refuses,
visitors go on and their clicks are lost: counted, written down and told of, never silently.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.clicks.bound import SpoolBound
from api.clicks.folder import NEW, OPEN, READY, SpoolFolder, new_segment_id, try_lock
from api.clicks.losses import LostClicks
from api.clicks.records import ClickRecord, OrphanRecord, header_line

log = logging.getLogger(__name__)

# While nobody takes our sealed segments they are made larger, up to so many times the usual age:
# a consumer that is away for a day must not leave a million small files.
_PATIENCE = 25
_RETRY_SECONDS = 1.0
# How often it is looked whether there is room again, while no click is written.
_LOOK_SECONDS = 0.5


class SpoolFull(OSError):
    """More waits than the bound allows."""


@dataclass(frozen=True, slots=True)
class SpoolState:
    """How much waits in the folder, for how long, and what had no room in it."""

    bytes: int
    bound: int
    oldest_age_seconds: float
    lost_clicks: int
    full: bool


class _Process:
    """The id of this process, for less than a system call."""

    def __init__(self) -> None:
        self.look()
        os.register_at_fork(after_in_child=self.look)

    def look(self) -> None:
        self.pid = os.getpid()


_process = _Process()


class Spool:
    """Writes clicks to one segment at a time. Safe for threads and greenlets of one process.

    Usable between `start()` and `close()`, in the process that called `start()`.
    """

    _make_lock: Callable[[], AbstractContextManager[Any]] = staticmethod(threading.Lock)

    def __init__(
        self,
        path: Path,
        segment_bytes: int,
        segment_seconds: float,
        max_bytes: int,
        on_seal: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_seal` is told of each sealed segment, within the write that filled it: be quick."""
        self.folder = SpoolFolder(path)
        self._segment_bytes = segment_bytes
        self._segment_seconds = segment_seconds
        self._bound = SpoolBound(self.folder, max_bytes)
        self._lost = LostClicks(path)
        self._on_seal = on_seal
        self._pid = 0
        self._descriptor = -1
        self._written = 0

    def start(self) -> None:
        """Begin in this process; a forked server calls it in each worker, after the fork."""
        if self._descriptor >= 0:
            # Inherited over a fork: held open here, it would keep the parent's lock alive.
            os.close(self._descriptor)
        self.folder.make()
        self._pid = _process.pid
        self._descriptor = -1
        self._opened_at = 0.0
        self._path = self._sealed = self.folder.path / "none"
        self._lock = self._make_lock()
        self._has_work = threading.Event()
        self._stopping = threading.Event()
        self._sealer = threading.Thread(target=self._seal_by_age, name="spool", daemon=True)
        self._sealer.start()

    def record(self, click: ClickRecord | OrphanRecord) -> None:
        """Write one click, or one line of visits without a link; when this returns, the death of
        the process does not lose it.

        Raises:
            OSError: it is not recorded, as the disk refused or, with `SpoolFull`, more waits than
                the bound allows. A click is counted as lost.
            RuntimeError: the spool was not started in this process.
        """
        self._record(click.to_line(), 1 if type(click) is ClickRecord else 0)

    def record_lines(self, lines: bytes, clicks: int) -> None:
        """Write some clicks that are lines already; see `record`. Those that do not fit any more
        are lost."""
        self._record(lines, clicks)

    def _record(self, lines: bytes, clicks: int) -> None:
        if self._pid != _process.pid:
            raise RuntimeError("this spool was not started in this process")
        written = 0
        try:
            if self._bound.full:
                raise SpoolFull(errno.EDQUOT, "the spool has reached SPOOL_MAX_BYTES")
            with self._lock:
                if self._descriptor < 0:
                    self._open()
                written = os.write(self._descriptor, lines)
                self._written += written
                if written < len(lines):
                    # Half a line, which only the end of a segment may be.
                    self._seal()
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if self._written >= self._segment_bytes:
                    self._seal_or_log()
        except OSError as error:
            lost = clicks - lines.count(b"\n", 0, written)
            if clicks and lost > 0:
                self._lost.add(error.strerror or str(error), lost)
            self._has_work.set()
            raise

    def close(self) -> None:
        """Seal what is open and stop; a closed spool can be started again."""
        if self._pid != _process.pid:
            return
        self._stopping.set()
        self._has_work.set()
        self._sealer.join(timeout=5)
        with self._lock:
            self._pid = 0
            if self._descriptor >= 0:
                self._seal()
        self._lost.write(at_once=True)

    def state(self) -> SpoolState:
        """What waits in the folder, of all processes."""
        waiting = self.folder.size_bytes()
        return SpoolState(
            bytes=waiting,
            bound=self._bound.max_bytes,
            oldest_age_seconds=round(self.folder.oldest_age_seconds(), 3),
            lost_clicks=self._lost.total(),
            full=self._bound.full or waiting > self._bound.max_bytes,
        )

    def size_bytes(self) -> int:
        """Bytes that wait in the folder, those of all processes."""
        return self.folder.size_bytes()

    def oldest_age_seconds(self) -> float:
        """For how long the oldest sealed segment of the folder waits."""
        return self.folder.oldest_age_seconds()

    def ready_segments(self) -> list[Path]:
        """The sealed segments of the folder, oldest first."""
        return self.folder.ready_segments()

    def _open(self) -> None:
        """Make the next segment. It is locked before it is named `.open`, so that nobody who looks
        for orphans ever finds it without its owner."""
        now_ms = time.time_ns() // 1_000_000
        segment_id = new_segment_id(now_ms)
        draft = self.folder.path / f"{segment_id}{NEW}"
        header = self._header(segment_id, now_ms)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self.folder.make()  # again, should somebody have cleared it away
        descriptor = os.open(draft, flags, 0o600)
        try:
            if not try_lock(descriptor) or os.write(descriptor, header) < len(header):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._path = draft.rename(draft.with_suffix(OPEN))
        except OSError:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
            raise
        self._descriptor = descriptor
        self._written = len(header)
        self._opened_at = time.monotonic()
        self._has_work.set()

    def _header(self, segment_id: str, created_ms: int) -> bytes:
        """The first line of a segment that is being made."""
        return header_line(segment_id, created_ms)

    def _seal(self) -> None:
        """Hand the segment over. The lock is given up last, when the name already says sealed."""
        descriptor, self._descriptor = self._descriptor, -1
        self._has_work.clear()
        try:
            self._sealed = self._path.rename(self._path.with_suffix(READY))
        finally:
            os.close(descriptor)
        self._on_seal()

    def _seal_or_log(self) -> None:
        """Seal; where that fails the click is written all the same, and a consumer adopts the
        segment, as its lock is free."""
        try:
            self._seal()
        except OSError:
            log.exception("a segment could not be sealed: %s", self._path.stem)

    def _seal_by_age(self) -> None:
        while not self._stopping.is_set():
            troubled = self._bound.full or self._lost.pending
            self._has_work.wait(_LOOK_SECONDS if troubled else None)
            with self._lock:
                if self._descriptor < 0:
                    self._has_work.clear()
                due_seconds = self._due_seconds()
                if due_seconds <= 0:
                    self._seal_or_log()
            self._bound.measure_if_due()
            self._lost.write()
            if due_seconds > 0:
                self._stopping.wait(due_seconds)

    def _due_seconds(self) -> float:
        """How long the open segment may stay open; the next look is due then at the latest."""
        if self._descriptor < 0:
            return self._segment_seconds
        age = time.monotonic() - self._opened_at
        left = self._segment_seconds - age
        if left <= 0 and age < _PATIENCE * self._segment_seconds and self._sealed.exists():
            return self._segment_seconds / 4
        return left
